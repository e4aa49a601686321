//! Rules of the repository; see [`frazil_tests::tidy`].

use frazil_tests::tidy;

#[track_caller]
fn assert_none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn licences_are_allowed() {
    assert_none(tidy::check_licences(&tidy::load_metadata()));
}

#[test]
fn duplicate_dependencies_are_known() {
    assert_none(tidy::check_duplicates(&tidy::load_metadata()));
}

#[test]
fn dependencies_point_down() {
    assert_none(tidy::check_dependency_direction(&tidy::load_metadata()));
}

#[test]
fn files_are_short() {
    assert_none(tidy::check_file_lengths(&tidy::tracked_files()));
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    assert_none(tidy::check_paths_and_hosts(&tidy::tracked_files()));
}

#[test]
fn no_code_rests_on_where_it_was_built() {
    assert_none(tidy::check_built_in_folders(&tidy::tracked_files()));
}
