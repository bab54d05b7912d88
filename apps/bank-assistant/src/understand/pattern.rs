//! The little language of the intent tables.
//!
//! A table is text a person can read: `[intent]`, then one pattern a line with its weight;
//! `@name = words` is a list to use in patterns; `;` begins a remark. In a pattern, words stand
//! side by side as in the message:
//!
//! | | |
//! | --- | --- |
//! | `saldo` | that word, without accents |
//! | `transf*` | a word that begins so |
//! | `luz\|agua` | one of these |
//! | `@service` | one of the list |
//! | `..` | up to five words of any kind |
//! | `#` | a number in digits |
//! | `^` `$` | the message begins, ends here |
//! | `!money` | somewhere there is an amount with a unit; `!clabe`, eighteen digits |

use std::collections::HashMap;

use super::meaning::Intent;

/// Words that `..` passes over, at most.
const GAP_MAX: usize = 5;

/// What the table may ask about the message beside its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    Money,
    Clabe,
}

/// One spelling in a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Spelling {
    Word(String),
    Stem(String),
    Number,
}

#[derive(Debug, Clone)]
enum Item {
    Any(Vec<Spelling>),
    Gap,
    Start,
    End,
    Fact(Fact),
}

/// A line of a table.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) intent: Intent,
    pub(super) weight: i32,
    items: Vec<Item>,
}

/// A message as patterns see it: plain words and digits, no signs.
pub(super) struct Words<'w> {
    pub(super) words: &'w [String],
    pub(super) facts: &'w [Fact],
}

/// A line of a table that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) number: usize,
    pub(super) why: &'static str,
}

/// Reads a table.
pub(super) fn read(table: &str) -> Result<Vec<Pattern>, BadLine> {
    let mut lists: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut intent = None;
    let mut out = Vec::new();
    for (n, line) in table.lines().enumerate() {
        let line = line.split(';').next().unwrap_or(line).trim();
        let bad = |why| BadLine { number: n + 1, why };
        if line.is_empty() {
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            intent = Some(Intent::named(name).ok_or(bad("no intent has that name"))?);
        } else if let Some((name, words)) = line.strip_prefix('@').and_then(|rest| rest.split_once('=')) {
            lists.entry(name.trim()).or_default().extend(words.split_whitespace());
        } else {
            let (weight, pattern) = line.split_once(' ').ok_or(bad("a weight and a pattern are needed"))?;
            let weight = weight.parse().map_err(|_| bad("the weight is not a whole number"))?;
            let intent = intent.ok_or(bad("no [intent] comes before it"))?;
            let items = pattern.split_whitespace().map(|part| item(part, &lists)).collect::<Result<_, _>>();
            out.push(Pattern { intent, weight, items: items.map_err(bad)? });
        }
    }
    Ok(out)
}

fn item(part: &str, lists: &HashMap<&str, Vec<&str>>) -> Result<Item, &'static str> {
    Ok(match part {
        ".." => Item::Gap,
        "^" => Item::Start,
        "$" => Item::End,
        "!money" => Item::Fact(Fact::Money),
        "!clabe" => Item::Fact(Fact::Clabe),
        _ => {
            let mut spellings = Vec::new();
            for one in part.split('|') {
                if one.starts_with(['!', '^', '$']) || one == ".." {
                    return Err("a sign stands alone, not among words");
                }
                match one.strip_prefix('@') {
                    Some(name) => {
                        let list = lists.get(name).ok_or("no list has that name")?;
                        spellings.extend(list.iter().map(|word| spelling(word)));
                    }
                    None => spellings.push(spelling(one)),
                }
            }
            Item::Any(spellings)
        }
    })
}

fn spelling(text: &str) -> Spelling {
    match text.strip_suffix('*') {
        _ if text == "#" => Spelling::Number,
        Some(stem) => Spelling::Stem(stem.into()),
        None => Spelling::Word(text.into()),
    }
}

impl Spelling {
    fn fits(&self, word: &str) -> bool {
        match self {
            Self::Word(known) => known == word,
            Self::Stem(stem) => word.starts_with(stem.as_str()),
            Self::Number => word.starts_with(|c: char| c.is_ascii_digit()),
        }
    }
}

impl Pattern {
    /// Is it anywhere in the message?
    pub(super) fn fits(&self, message: &Words<'_>) -> bool {
        (0..=message.words.len()).any(|start| fits(&self.items, message, start))
    }

    /// The words and stems it knows, for forgiving slips in them.
    pub(super) fn known(&self) -> impl Iterator<Item = (&str, bool)> {
        self.items
            .iter()
            .flat_map(|item| match item {
                Item::Any(spellings) => spellings.as_slice(),
                Item::Gap | Item::Start | Item::End | Item::Fact(_) => &[],
            })
            .filter_map(|spelling| match spelling {
                Spelling::Word(word) => Some((word.as_str(), false)),
                Spelling::Stem(stem) => Some((stem.as_str(), true)),
                Spelling::Number => None,
            })
    }
}

fn fits(items: &[Item], message: &Words<'_>, at: usize) -> bool {
    let Some((item, rest)) = items.split_first() else { return true };
    match item {
        Item::Any(spellings) => {
            let here = message.words.get(at).is_some_and(|word| spellings.iter().any(|one| one.fits(word)));
            here && fits(rest, message, at + 1)
        }
        Item::Gap => (at..=(at + GAP_MAX).min(message.words.len())).any(|next| fits(rest, message, next)),
        Item::Start => at == 0 && fits(rest, message, at),
        Item::End => at == message.words.len() && fits(rest, message, at),
        Item::Fact(fact) => message.facts.contains(fact) && fits(rest, message, at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pattern: &str, message: &str) -> bool {
        let table = format!("@fruit = mango papaya\n[transfer]\n5 {pattern}");
        let words: Vec<String> = message.split(' ').map(str::to_owned).collect();
        read(&table).expect("a table")[0].fits(&Words { words: &words, facts: &[Fact::Money] })
    }

    #[test]
    fn patterns_match_what_their_table_says() {
        assert!(one("quiero .. mango", "yo quiero comer un mango"));
        assert!(!one("quiero mango", "quiero un mango"));
        assert!(one("com* un|una @fruit", "comer una papaya"));
        assert!(one("^ yo .. # $", "yo tengo 3") && !one("^ yo # $", "yo 3 no"));
        assert!(one("!money mango", "mango") && !one("!clabe mango", "mango"));
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(read("[transfer]\nx saldo").expect_err("bad").number, 2);
        assert_eq!(read("5 saldo").expect_err("bad").why, "no [intent] comes before it");
        assert!(read("[nothing]").is_err() && read("[transfer]\n5 @none").is_err());
        assert!(read("[transfer]\n5 luz|!money").is_err());
    }
}
