//! What messages look like that rules do not know: a naive Bayes model of our own examples.
//!
//! The tables say what certainly means something; people find other words. The model counts, for
//! each intent, in how many examples a word, a pair of neighbours or four letters in a row occur,
//! and prefers the intent in whose examples the message's own would be least surprising. It is
//! counted at the start from the sentences in `data/`, so adding an example is all it takes to
//! teach it, and there is no file of weights to go stale.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::meaning::{Intent, Language};

const INTENTS: usize = Intent::ALL.len();
/// What a feature counts that was never seen with an intent.
const UNSEEN: f64 = 0.1;
/// Letters in a row.
const LETTERS: usize = 4;
/// Logarithms are kept in thousandths, so that sums are whole numbers and the same everywhere.
const SCALE: f64 = 1_000.0;

/// The sentences this program carries.
fn sentences(language: Language) -> [&'static str; 2] {
    match language {
        Language::Es => [
            include_str!("../../data/own_es/examples.jsonl"),
            include_str!("../../data/banking_es/dev.jsonl"),
        ],
        Language::En => [include_str!("../../data/own_en/examples.jsonl"), ""],
    }
}

#[derive(serde::Deserialize)]
struct Example {
    text: String,
    intent: Intent,
}

/// The counted examples of one language.
pub(super) struct Examples {
    /// For each feature, how much it speaks for each intent.
    features: HashMap<String, [i32; INTENTS]>,
    /// How much each intent is worth before the first word.
    before: [i32; INTENTS],
}

impl Examples {
    /// Counts the built-in examples; `words` cuts a sentence as messages are cut.
    pub(super) fn of(language: Language, words: impl Fn(&str) -> Vec<String>) -> Self {
        let mut counts: HashMap<String, [u32; INTENTS]> = HashMap::new();
        let mut sentences_of = [0_u32; INTENTS];
        let mut features_of = [0_u32; INTENTS];
        for line in sentences(language).iter().flat_map(|file| file.lines()) {
            let example: Example =
                serde_json::from_str(line).expect("the built-in examples parse: a test reads them");
            let intent = place(example.intent);
            sentences_of[intent] += 1;
            for feature in features(&words(&example.text)) {
                counts.entry(feature).or_default()[intent] += 1;
                features_of[intent] += 1;
            }
        }
        let all: u32 = sentences_of.iter().sum();
        let vocabulary = f64::from(u32::try_from(counts.len()).unwrap_or(u32::MAX));
        let weights = |seen: [u32; INTENTS]| {
            std::array::from_fn(|intent| {
                thousandths(
                    (f64::from(seen[intent]) + UNSEEN)
                        / (f64::from(features_of[intent]) + UNSEEN * vocabulary),
                )
            })
        };
        Self {
            features: counts.into_iter().map(|(feature, seen)| (feature, weights(seen))).collect(),
            before: std::array::from_fn(|intent| {
                thousandths(f64::from(sentences_of[intent].max(1)) / f64::from(all))
            }),
        }
    }

    /// How far each intent is behind the most likely one, in thousandths of a logarithm: zero for
    /// that one, negative for the others.
    pub(super) fn behind(&self, words: &[String]) -> BTreeMap<Intent, i32> {
        let mut sums = self.before;
        for weights in features(words).iter().filter_map(|feature| self.features.get(feature)) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = sum.saturating_add(*weight);
            }
        }
        let best = sums.into_iter().max().unwrap_or_default();
        Intent::ALL.into_iter().zip(sums).map(|(intent, sum)| (intent, sum - best)).collect()
    }

    /// Does it know most of these words?
    pub(super) fn knows(&self, words: &[String]) -> bool {
        let known = words.iter().filter(|word| self.features.contains_key(*word)).count();
        known * 2 > words.len()
    }
}

fn place(intent: Intent) -> usize {
    Intent::ALL.iter().position(|known| *known == intent).expect("ALL has every intent: a test counts them")
}

#[expect(clippy::cast_possible_truncation, reason = "logarithms of counts of a few thousand are small")]
fn thousandths(share: f64) -> i32 {
    (share.ln() * SCALE).round() as i32
}

/// Words, neighbours, and letters in a row; each once.
fn features(words: &[String]) -> HashSet<String> {
    let words: Vec<&str> = words
        .iter()
        .map(|word| if word.starts_with(|c: char| c.is_ascii_digit()) { "#" } else { word.as_str() })
        .collect();
    let mut out: HashSet<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let around: Vec<&str> = std::iter::once("^").chain(words.iter().copied()).chain(["$"]).collect();
    out.extend(around.windows(2).map(|pair| pair.join(" ")));
    for word in words {
        let letters: Vec<char> = format!("<{word}>").chars().collect();
        let rows = letters.windows(LETTERS.min(letters.len()));
        out.extend(rows.map(|row| format!("~{}", row.iter().collect::<String>())));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_parse_and_every_intent_has_a_place() {
        for language in [Language::Es, Language::En] {
            let examples = Examples::of(language, |text| text.split(' ').map(str::to_lowercase).collect());
            assert!(
                examples.knows(&["hola".to_owned(), "hello".to_owned(), "no".to_owned()])
                    || language == Language::En
            );
        }
        assert_eq!(Intent::ALL.map(place), std::array::from_fn(|i| i));
    }
}
