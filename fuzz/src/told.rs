//! How a refusal must read.

use steadfast_core::Failure;
use steadfast_server::Problem;

/// Longer is no help, and a caller could have megabytes of their own sent back.
const CHARS_MAX: usize = 1_000;
/// The longest name of a member that is told back.
const FIELD_CHARS_MAX: usize = 200;

/// Says something, in bounds, and nothing that a terminal or a log would act on.
pub(crate) fn text(text: &str) {
    assert!(!text.trim().is_empty(), "a refusal says nothing");
    let length = text.chars().count();
    assert!(length <= CHARS_MAX, "a refusal has {length} characters");
    assert!(!text.contains(char::is_control), "a refusal has control characters: {text:?}");
}

/// A failure of the caller's.
pub(crate) fn failure(failure: &Failure) {
    assert!(!failure.code.is_empty());
    text(&failure.message);
}

/// A request that was refused as it stands.
pub(crate) fn problem(problem: &Problem) {
    assert!(problem.status().is_client_error(), "{}: {}", problem.status(), problem.code());
    failure(problem.failure());
    if let Some(field) = problem.field() {
        assert!(field.chars().count() <= FIELD_CHARS_MAX, "{field:?}");
    }
}
