//! Every fault that can be planted is found, and the page about them is as they are.

use steadfast_bank_sim::mutants::{each, find_again, page, problems};
use steadfast_core::Mutant;

#[test]
fn every_planted_fault_is_found() {
    let missed = each(Mutant::ALL, |mutant| match find_again(*mutant) {
        None => Some(format!("{mutant:?} is not found by {}", mutant.check())),
        Some(found) => {
            let without = problems(found.seed, None);
            (!without.is_empty()).then(|| format!("{mutant:?}: seed {} fails without it", found.seed))
        }
    });
    assert_eq!(missed.into_iter().flatten().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_page_about_planted_faults_is_up_to_date() {
    let written = include_str!("../../../docs/planted-faults.md");
    assert!(written == page(), "run: cargo sim-mutants --page > docs/planted-faults.md");
}
