//! Finding products by the words people use for them.

use steadfast_bank::{ProductId, ProductView};
use steadfast_core::Failure;

use super::Scene;
use crate::{
    told::{Asks, ProductLine, Told},
    understand::plain,
};

/// More products than this are not looked through for a few words.
const LOOKED_THROUGH: usize = 2_000;
/// As many as fit into a reply.
const SHOWN: usize = 5;

impl Scene<'_> {
    pub(super) async fn search(&self, words: Option<&str>) -> Result<Told, Failure> {
        let mut products = match words {
            Some(words) => self.find_products(words).await?,
            None => self.all_products(SHOWN).await?.into_iter().map(line).collect(),
        };
        if products.is_empty() {
            products = self.all_products(SHOWN).await?.into_iter().map(line).collect();
        }
        products.truncate(SHOWN);
        Ok(Told::Products { products })
    }

    pub(super) async fn stock(&self, words: Option<&str>) -> Result<Told, Failure> {
        let Some(words) = words else {
            return self.search(None).await;
        };
        let mut found = self.find_products(words).await?;
        Ok(match found.len() {
            0 => {
                Told::AskProduct { unknown: Some(words.to_owned()), choices: Vec::new(), asks: Asks::Product }
            }
            1 => Told::Stock { product: found.remove(0) },
            _ => {
                found.truncate(SHOWN);
                Told::Products { products: found }
            }
        })
    }

    pub(super) async fn line(&self, id: &ProductId) -> Result<ProductLine, Failure> {
        self.bank.product(&self.principal, id).await.map(line)
    }

    /// The products that fit the words best: one, or several that fit equally well.
    pub(super) async fn find_products(&self, text: &str) -> Result<Vec<ProductLine>, Failure> {
        let wanted = words(text);
        let mut best: (usize, Vec<ProductLine>) = (0, Vec::new());
        for view in self.all_products(LOOKED_THROUGH).await? {
            let names = words(&format!("{} {}", view.name, view.id));
            let hits = wanted.iter().filter(|word| names.iter().any(|name| alike(name, word))).count();
            match hits.cmp(&best.0) {
                std::cmp::Ordering::Greater => best = (hits, vec![line(view)]),
                std::cmp::Ordering::Equal if hits > 0 => best.1.push(line(view)),
                _ => {}
            }
        }
        // Half of the words must fit: "a red guitar" is no "red shawl".
        if best.0 * 2 < wanted.len() {
            best.1.clear();
        }
        best.1.truncate(SHOWN);
        Ok(best.1)
    }

    async fn all_products(&self, most: usize) -> Result<Vec<ProductView>, Failure> {
        let mut all = Vec::new();
        let mut after = None;
        while all.len() < most {
            let (mut page, next) =
                self.bank.products(&self.principal, after, 200.min(most - all.len())).await?;
            all.append(&mut page);
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(all)
    }
}

/// The words that say something, plainly written.
fn words(text: &str) -> Vec<String> {
    const EMPTY: [&str; 24] = [
        "de", "del", "la", "el", "los", "las", "un", "una", "unos", "unas", "con", "para", "y", "en", "the",
        "a", "an", "of", "for", "and", "with", "some", "kg", "1",
    ];
    let plain = plain(text);
    let words = plain.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.filter(|word| !EMPTY.contains(word)).map(str::to_owned).collect()
}

/// The same word, or its plural.
fn alike(name: &str, word: &str) -> bool {
    let plural = |one: &str, many: &str| {
        let ending = many.strip_prefix(one).is_some_and(|rest| rest == "s" || rest == "es");
        let z = one.strip_suffix('z').zip(many.strip_suffix("ces"));
        ending || z.is_some_and(|(one, many)| one == many)
    };
    name == word || plural(name, word) || plural(word, name)
}

fn line(view: ProductView) -> ProductLine {
    ProductLine { id: view.id, name: view.name, price: view.price, stock: view.stock }
}
