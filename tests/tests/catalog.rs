//! Every catalog passes the same conformance, the commit loop settles what a catalog leaves open, the service keeps to
//! the protocol.

mod commit;
mod conformance;
mod consumers;
mod fixture;
mod service;
mod sharing;

/// One test for each kind of catalog.
macro_rules! conforms {
    ($($case:ident)*) => {
        conforms!(@kind sql_in_memory $($case)*);
        conforms!(@kind sql_file $($case)*);
        conforms!(@kind rest $($case)*);
    };
    (@kind $kind:ident $($case:ident)*) => {
        mod $kind {
            use super::{conformance, fixture::World};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    conformance::$case(World::$kind().await).await;
                }
            )*
        }
    };
}

conforms! {
    namespaces_nest_and_go_only_when_empty
    namespace_properties_are_set_and_removed
    a_table_is_made_listed_and_dropped
    a_purge_deletes_what_the_table_names_and_nothing_else
    a_rename_leaves_the_old_name_free
    locations_outside_the_warehouse_are_refused
    tables_never_overlap
    a_dropped_table_can_be_registered_again
    every_requirement_is_checked
    a_request_that_no_state_can_take_is_a_bad_request
    the_same_key_gets_the_same_answer
    a_used_sequence_number_is_a_conflict
    what_was_there_before_is_taken_up_again_however_it_is_named
    a_commit_that_asserts_create_makes_the_table_once
    appends_work_in_every_format_version
    odd_names_are_names
    old_metadata_files_go_when_the_table_says_so
    one_of_many_with_the_same_base_wins
    only_the_newest_member_of_a_consumer_commits
    what_is_no_consumer_is_refused
    a_consumer_is_renamed_and_dropped_with_its_table
    all_concurrent_appends_land
}
