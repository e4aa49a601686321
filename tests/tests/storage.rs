//! One contract for every store, kept by real servers; and a warehouse on S3, from `frazil serve` to other engines.

mod contract;
mod pieces;
mod place;
mod serve;
mod silence;

/// One test for each case at each place.
macro_rules! keeps {
    ($module:ident: $($case:ident)* => $($place:ident)*) => {
        keeps!(@places $module [$($case)*] $($place)*);
    };
    (@places $module:ident $cases:tt $($place:ident)*) => {
        $( keeps!(@place $module $cases $place); )*
    };
    (@place $module:ident [$($case:ident)*] $place:ident) => {
        mod $place {
            $(
                #[tokio::test]
                async fn $case() {
                    match super::super::place::Place::$place(stringify!($case)) {
                        Ok(place) => super::super::$module::$case(&place).await,
                        Err(skip) => skip.report(),
                    }
                }
            )*
        }
    };
}

mod files {
    keeps! {
        contract:
            what_is_put_is_read_back
            a_name_that_must_be_new_is_taken_once
            of_two_creators_exactly_one_wins
            names_are_kept_as_they_are
            a_listing_is_whole_and_of_its_folder_only
            deleted_files_are_gone
        => local memory s3 gcs azure hdfs
    }
}

mod large_files {
    keeps! {
        pieces:
            a_large_file_is_there_whole_or_not_at_all
            a_writer_that_is_dropped_leaves_nothing
            a_writer_whose_task_is_cut_leaves_nothing
            a_writer_that_lost_its_name_leaves_nothing
        => local memory s3 gcs_xml azure hdfs
    }
}
