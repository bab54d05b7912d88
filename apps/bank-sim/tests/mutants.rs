//! Every fault that can be planted is found, and the page about them is as they are.

use std::collections::BTreeSet;

use steadfast_bank_sim::mutants::{each, find_again, page, problems};
use steadfast_core::Mutant;

#[test]
fn every_planted_fault_is_found_and_nothing_where_there_is_none() {
    let found = each(Mutant::ALL, |mutant| (*mutant, find_again(*mutant)));
    let missed: Vec<Mutant> = found.iter().filter(|(_, found)| found.is_none()).map(|it| it.0).collect();
    assert_eq!(missed, Vec::new());
    let seeds: BTreeSet<u64> = found.iter().filter_map(|(_, found)| Some(found.as_ref()?.seed)).collect();
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let without = each(&seeds, |seed| (*seed, problems(*seed, None)));
    assert_eq!(without, seeds.iter().map(|seed| (*seed, Vec::new())).collect::<Vec<_>>());
}

#[test]
fn the_page_about_planted_faults_is_up_to_date() {
    let written = include_str!("../../../docs/planted-faults.md");
    assert!(written == page(), "run: cargo sim-mutants --page > docs/planted-faults.md");
}
