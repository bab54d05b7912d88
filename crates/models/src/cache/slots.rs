//! What of a question could change its answer, in order.
//!
//! Embeddings say how much two texts have in common, and "raise my limit" has nearly all in
//! common with "lower my limit". So nearness alone never makes a hit: every word, number,
//! name and sign of the one text must stand in the other, in the same order. Only what is
//! *known* not to change the answer may differ: greetings and courtesies, articles, how a
//! contraction or an accent is written, and the few synonyms below. A word that nobody
//! thought of, and any opposite, is a difference. That misses many paraphrases; a miss costs
//! a call, a false hit a customer's trust.

/// The longest text, in bytes, that is compared in other words.
const TEXT_MAX: usize = 2_000;

/// The words that count, in order; none if there are none, or too many.
pub(super) fn slots(text: &str) -> Option<Vec<String>> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let mut words = Vec::new();
    for (at, token) in tokens(text).into_iter().enumerate() {
        expand(&cased(text, &token, at), &mut words);
    }
    courtesies(&mut words);
    let asks = words.iter().any(|word| QUESTIONS.contains(&word.as_str()));
    let spanish = words.iter().any(|word| SPANISH.contains(&word.as_str()));
    // Where it stands does not matter, but that it does: "who is paid" is not "who paid".
    let mut moved = 0;
    words.retain(|word| {
        let word = word.as_str();
        let moves = asks && IN_QUESTIONS.contains(&word);
        moved += usize::from(moves);
        !(moves || NO_MATTER.contains(&word) || (word == "a" && !spanish))
    });
    words.extend(std::iter::repeat_n("is".to_owned(), moved));
    for word in &mut words {
        if let Some(group) = SYNONYMS.iter().find(|group| group.contains(&word.as_str())) {
            group[0].clone_into(word);
        }
    }
    (!words.is_empty()).then_some(words)
}

/// A word, a number or a sign as it stands in the text.
struct Token<'a> {
    text: &'a str,
    /// It begins a sentence.
    first: bool,
}

/// Words go on over what stands inside them: `1,000.50`, `12/05`, `don't`, `ana@example.com`.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut first = true;
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if letter.is_alphanumeric() {
            let (word, after) = rest.split_at(word_end(rest));
            // A comma says what a "no" is about: "no, cancel it" is not "no cancel it".
            let answers = ["no", "not", "yes", "si", "sí"].contains(&word.to_lowercase().as_str());
            let size = word.len() + usize::from(answers && after.starts_with(','));
            tokens.push(Token { text: &rest[..size], first });
            first = false;
            rest = &rest[size..];
            continue;
        }
        let (sign, after) = rest.split_at(letter.len_utf8());
        let of_number = ".,".contains(letter) && after.starts_with(|next: char| next.is_ascii_digit());
        if of_number || !(letter.is_whitespace() || ".,;:!?¿¡\"'“”‘’…".contains(letter)) {
            tokens.push(Token { text: sign, first: false });
        }
        first |= ".!?\n".contains(letter) && !of_number;
        rest = after;
    }
    tokens
}

/// Where the word ends that `text` begins with.
fn word_end(text: &str) -> usize {
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map(|(_, next)| *next);
        let joins = "'’.,:/-_@".contains(letter) && next.is_some_and(char::is_alphanumeric);
        if !letter.is_alphanumeric() && !joins {
            return at;
        }
    }
    text.len()
}

/// In small letters, unless large ones make it a name: inside a sentence, or all of them.
fn cased(text: &str, token: &Token<'_>, at: usize) -> String {
    let word = token.text.replace('’', "'");
    let shouted = !text.chars().any(char::is_lowercase);
    let letters = word.chars().filter(|letter| letter.is_alphabetic()).count();
    let all_large = letters > 1 && !word.chars().any(char::is_lowercase);
    let begins = word.starts_with(char::is_uppercase);
    let name = !shouted && (all_large || (begins && !token.first && at > 0 && letters > 1));
    let own = ["I'm", "I've", "I'd", "I'll"].contains(&word.as_str());
    if name && !own { word } else { word.to_lowercase() }
}

/// A contraction as the words it is made of.
fn expand(word: &str, words: &mut Vec<String>) {
    if let Some(verb) = word.strip_suffix("n't").or_else(|| (word == "cannot").then_some("ca")) {
        let verb = match verb {
            "ca" => "can",
            "wo" => "will",
            "sha" => "shall",
            verb => verb,
        };
        words.extend([verb.to_owned(), "not".to_owned()]);
        return;
    }
    for (end, verb) in [("'m", "am"), ("'ve", "have"), ("'d", "would"), ("'ll", "will"), ("'re", "are")] {
        if let Some(before) = word.strip_suffix(end) {
            words.extend([before.to_owned(), verb.to_owned()]);
            return;
        }
    }
    match word {
        "what's" | "where's" | "when's" | "who's" | "how's" | "it's" | "that's" | "there's" => {
            words.extend([word[..word.len() - 2].to_owned(), "is".to_owned()]);
        }
        "del" => words.extend(["de".to_owned(), "el".to_owned()]),
        "al" => words.extend(["a".to_owned(), "el".to_owned()]),
        _ => words.push(word.to_owned()),
    }
}

/// Takes away how a request begins where that is only manners, and makes one form of the
/// ways to ask how.
fn courtesies(words: &mut Vec<String>) {
    let starts = |words: &[String], with: &str| {
        let mut rest = words.iter();
        with.split(' ').all(|word| rest.next().is_some_and(|next| next == word))
    };
    loop {
        let after = |phrase: &str| phrase.split(' ').count();
        if let Some(phrase) = OPENINGS.iter().find(|phrase| starts(words, phrase)) {
            words.drain(..after(phrase));
            continue;
        }
        // "Tell me a joke" is no "what is a joke": only before a question is it manners.
        let told = BEFORE_QUESTIONS.iter().find(|phrase| {
            starts(words, phrase)
                && words.get(after(phrase)).is_some_and(|next| accented(next).is_some() || asks(next))
        });
        // "Can you cancel an order?" may be a question; "can you explain it?" is a request.
        let asked = BEFORE_TELLING.iter().find(|phrase| {
            starts(words, phrase)
                && words.get(after(phrase)).is_some_and(|next| TELLING.contains(&next.as_str()))
        });
        let Some(phrase) = told.or(asked) else { break };
        words.drain(..after(phrase));
    }
    if let Some(first) = words.first_mut()
        && let Some(written) = accented(first)
    {
        written.clone_into(first);
    }
    if let Some((phrase, word)) = HOW.iter().find(|(phrase, _)| starts(words, phrase)) {
        words.splice(..phrase.split(' ').count(), [(*word).to_owned()]);
    }
    for phrase in CLOSINGS {
        let size = phrase.split(' ').count();
        if words.len() > size && starts(&words[words.len() - size..], phrase) {
            words.truncate(words.len() - size);
        }
    }
}

fn asks(word: &str) -> bool {
    QUESTIONS.contains(&word)
}

/// A Spanish question word whose accent was left out.
fn accented(word: &str) -> Option<&'static str> {
    Some(match word {
        "como" => "cómo",
        "cual" => "cuál",
        "cuales" => "cuáles",
        "cuando" => "cuándo",
        "cuanto" => "cuánto",
        "cuantos" => "cuántos",
        "cuantas" => "cuántas",
        "donde" => "dónde",
        "que" => "qué",
        "quien" => "quién",
        _ => return None,
    })
}

/// Longer ones first.
const OPENINGS: [&str; 45] = [
    "i would like to know",
    "i would like to",
    "i would love to",
    "i want to know",
    "i want to",
    "i need to know",
    "i need to",
    "i wish to",
    "could you please",
    "can you please",
    "would you please",
    "help me to",
    "help me",
    "good morning",
    "good afternoon",
    "good evening",
    "thank you",
    "hello there",
    "hello",
    "hi there",
    "hi",
    "hey",
    "ok",
    "okay",
    "well",
    "so",
    "please",
    "buenos días",
    "buenos dias",
    "buenas tardes",
    "buenas noches",
    "buenas",
    "hola",
    "oye",
    "disculpa",
    "por favor",
    "me gustaría",
    "me gustaria",
    "ayúdame a",
    "necesito",
    "quisiera",
    "deseo",
    "quiero",
    "me puedes ayudar a",
    "puedes ayudarme a",
];

const BEFORE_QUESTIONS: [&str; 17] = [
    "tell me",
    "let me know",
    "explain to me",
    "show me",
    "do you know",
    "know",
    "i wonder",
    "i am wondering",
    "dime",
    "saber",
    "me puedes decir",
    "me podrías decir",
    "puedes decirme",
    "podrías decirme",
    "explícame",
    "explicame",
    "sabes",
];

const BEFORE_TELLING: [&str; 4] = ["can you", "could you", "puedes", "podrías"];

const TELLING: [&str; 14] = [
    "tell",
    "explain",
    "show",
    "help",
    "summarise",
    "summarize",
    "describe",
    "translate",
    "list",
    "write",
    "explicar",
    "explicarme",
    "ayudarme",
    "resumir",
];

/// Longer ones first.
const CLOSINGS: [&str; 8] = [
    "thank you very much",
    "thank you",
    "thanks a lot",
    "thanks",
    "por favor",
    "muchas gracias",
    "mil gracias",
    "gracias",
];

const HOW: [(&str, &str); 10] = [
    ("how do i", "how"),
    ("how can i", "how"),
    ("how could i", "how"),
    ("how would i", "how"),
    ("how to", "how"),
    ("cómo puedo", "cómo"),
    ("cómo podría", "cómo"),
    ("cómo hago para", "cómo"),
    ("cómo le hago para", "cómo"),
    ("cómo se puede", "cómo"),
];

const QUESTIONS: [&str; 20] = [
    "what", "how", "when", "where", "which", "who", "why", "whose", "qué", "cómo", "cuándo", "cuánto",
    "cuántos", "cuántas", "cuál", "cuáles", "dónde", "quién", "if", "whether",
];

/// Anywhere.
const NO_MATTER: [&str; 12] =
    ["the", "an", "of", "my", "please", "kindly", "el", "la", "los", "las", "mi", "mis"];

/// Where a question word says already that it is a question, these may stand anywhere.
const IN_QUESTIONS: [&str; 5] = ["is", "are", "am", "es", "son"];

/// Where one of these stands, "a" is no article.
const SPANISH: [&str; 26] = [
    "el", "la", "los", "las", "de", "que", "qué", "mi", "mis", "en", "por", "para", "con", "una", "un", "le",
    "se", "es", "y", "cómo", "cuál", "cuánto", "cuándo", "dónde", "está", "su",
];

/// Words that say the same wherever they stand. Not one of them has a second meaning that
/// another lacks.
const SYNONYMS: [&[&str]; 26] = [
    &["buy", "purchase"],
    &["email", "e-mail"],
    &["choose", "select"],
    &["start", "begin"],
    &["fix", "repair"],
    &["help", "assist"],
    &["film", "movie"],
    &["father", "dad"],
    &["mother", "mom", "mum"],
    &["children", "kids"],
    &["sofa", "couch"],
    &["television", "tv", "TV"],
    &["fridge", "refrigerator"],
    &["lawyer", "attorney"],
    &["display", "show"],
    &["ok", "okay"],
    &["enviar", "mandar"],
    &["envía", "envia", "manda"],
    &["comprar", "adquirir"],
    &["empezar", "comenzar"],
    &["terminar", "acabar"],
    &["arreglar", "reparar"],
    &["elegir", "escoger"],
    &["obtener", "conseguir"],
    &["coche", "carro", "automóvil"],
    &["computadora", "ordenador", "computador"],
];
