//! The words around a number: what makes it no money at all, or money that is not exact.

use super::{
    super::{
        meaning::{Language, Unclear},
        text::{Kind, Token},
    },
    candidate::Candidate,
    lexicon::counts,
};

/// What the neighbours say about a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Money.
    Amount,
    /// A date, an account, a count: not money.
    Other,
    /// Money, but not exactly this.
    Unclear(Unclear),
}

/// Whole texts that speak of shares rather than sums.
const RELATIVE: &str = "\
    la mitad, todo mi, todo lo, todo el, toda mi, todos mis, una parte, lo que sobre, lo que quede, half \
    of, half my, half the, all my, all of, all the, everything";

/// Words that make any sum a part of another: so much each, so often.
const EACH: &str = "\
    cada uno, cada una, cada quien, a cada, por cabeza, por persona, c / u, each, apiece, per person, twice, \
    thrice, al doble, el doble, el triple";
/// A number before these says how many sums there are.
const PARTS: &str = "\
    pagos de, payments of, transferencias de, transfers of, depositos de, deposits of, mensualidades de, \
    abonos de, partes de, exhibiciones de, veces, times, ocasiones";
/// Before a number: about, at least, between, times.
const INEXACT_BEFORE: &str = "\
    unos, unas, como, casi, aproximadamente, aprox, alrededor de, cerca de, o menos, al menos, por lo \
    menos, menos de, mas de, mas, hasta, minimo, maximo, entre, doble de, triple de, tipo, about, \
    around, roughly, approximately, approx, almost, nearly, some, up to, at least, at most, more than, \
    less than, over, under, between, twice, double, triple, a couple, a few, like, maybe, quiza, quizas, \
    tal vez, por ahi de, no mas de, no se si";
/// After a number or its unit.
const INEXACT_AFTER: &str = "\
    o, u, or, y pico, y tantos, y tantas, y algo, y cacho, y fraccion, y feria, algo, mas o menos, \
    aprox, aproximadamente, ish, minimo, maximo, vez, time, x, *, /, %, por ciento, \
    porciento, percent, -, –, +, ^, plus, and something, and change, something, odd, por hora, al dia, \
    diarios, de mas, minus, menos";
/// The only word about how much, it says that there is something to ask.
const VAGUE: &str = "\
    todo toda mitad half all siempre sobre poco poquito algo monton some resto rest tantito tercio tercera third";
/// Before a number that names something: an account, an order, a day.
const REFERENCE: &str = "\
    cuenta, clabe, tarjeta, terminacion, terminada, termina, orden, pedido, folio, referencia, numero, \
    num, no, nro, #, celular, telefono, tel, cel, account, card, order, ending, ref, reference, number, \
    phone, departamento, depto, piso, dia, iphone, playstation, xbox, talla, size, ultimos, ultimas, \
    last, el, las, at, on the";
const MONTHS: &str = "\
    enero, febrero, marzo, abril, mayo, junio, julio, agosto, septiembre, octubre, noviembre, diciembre, \
    january, february, march, april, may, june, july, august, september, october, november, december";
/// After a number that counts something else.
const COUNTED: &str = "\
    dias, dia, semanas, semana, meses, mes, anos, ano, horas, hora, hrs, minutos, am, pm, mensualidades, \
    pagos, quincenas, movimientos, transacciones, operaciones, compras, days, day, weeks, week, months, \
    month, years, hours, hour, minutes, transactions, movements, purchases, payments, st, nd, rd, th, \
    pulgadas, inches, gb, kg";
/// What may follow a number that has no unit, when it is money after all.
const MAY_FOLLOW: &str = "\
    a, al, para, por, en, de, del, desde, con, que, y, e, hoy, manana, ahora, ahorita, ya, porfa, \
    porfis, porfavor, favor, plis, please, pls, el, este, la, mi, su, le, les, lo, cuando, antes, \
    mediante, via, spei, exactos, cerrados, nada, nomas, solamente, solo, gracias, entonces, pues, \
    lunes, martes, miercoles, jueves, viernes, sabado, domingo, to, for, from, into, in, on, at, by, \
    now, today, tomorrow, and, with, using, right, only, exactly, thanks, my, the, as, because, urgente, \
    seria, esta, si, no, pa, hacia, como, cada, monday, friday, tonight, once, through, tu, sus, compa, \
    wey, guey, carnal, bro";

/// Digits from here on, alone and without a unit, are an account or a telephone.
const REFERENCE_DIGITS_MIN: usize = 10;

/// The text around candidates.
pub(super) struct Surroundings<'t> {
    tokens: &'t [Token],
}

impl<'t> Surroundings<'t> {
    pub(super) fn new(tokens: &'t [Token]) -> Self {
        Self { tokens }
    }

    /// Does the text speak of a share: half, all?
    pub(super) fn relative(&self) -> bool {
        (0..self.tokens.len()).any(|i| self.any_at(i, RELATIVE))
    }

    /// Does the text split or multiply its sum?
    pub(super) fn each(&self) -> bool {
        (0..self.tokens.len()).any(|i| self.any_at(i, EACH))
    }

    /// Is "todo" all it says about how much?
    pub(super) fn all(&self) -> bool {
        self.tokens.iter().any(|token| token.is_in(VAGUE))
    }

    /// Judges one candidate.
    pub(super) fn verdict(&self, candidate: &Candidate) -> Verdict {
        let Candidate { start, end, .. } = *candidate;
        let marked = !candidate.marks.is_empty();
        if self.percent(end) {
            return Verdict::Unclear(Unclear::Relative);
        }
        if self.any_at(end, PARTS) {
            return Verdict::Unclear(Unclear::Several);
        }
        if !marked && self.names_something(candidate) {
            return Verdict::Other;
        }
        if self.any_before(start, INEXACT_BEFORE) || self.any_at(end, INEXACT_AFTER) {
            return Verdict::Unclear(Unclear::Approximate);
        }
        if self.glued_to_strange(start, end) {
            return Verdict::Unclear(Unclear::NotUnderstood);
        }
        // "dos thousand", "veinti cinco mil": the number began earlier than the grammar saw.
        let article = start > 0 && self.tokens[start - 1].is_any(&["a", "an", "un", "una"]);
        let before = start.checked_sub(1 + usize::from(article)).map(|i| &self.tokens[i]);
        let number = |token: &Token| {
            token.kind == Kind::Word
                && [Language::Es, Language::En].into_iter().any(|language| counts(&token.plain, language))
        };
        if before.is_some_and(number) || self.spaced_after_reference(start) {
            return Verdict::Unclear(Unclear::NotUnderstood);
        }
        if !marked && candidate.value.is_ok() && self.counts_the_unknown(end) {
            return Verdict::Unclear(Unclear::Currency);
        }
        Verdict::Amount
    }

    fn percent(&self, end: usize) -> bool {
        self.any_at(end, "%, por ciento, porciento, percent")
    }

    /// An account, an order, a date, an hour, a count.
    fn names_something(&self, candidate: &Candidate) -> bool {
        let Candidate { start, end, .. } = *candidate;
        if candidate.plain_digits.is_some_and(|digits| digits >= REFERENCE_DIGITS_MIN) {
            return true;
        }
        let month = |i: usize| self.tokens.get(i).is_some_and(|token| token.is_in(MONTHS));
        let date = month(end) || self.any_at(end, "de") && month(end + 1) || start > 0 && month(start - 1);
        let clock = self.tokens.get(end).is_some_and(|t| t.is(":") && t.glued);
        date || clock || self.any_at(end, COUNTED) || self.refers(start, candidate.plain_digits.is_some())
    }

    /// "cuenta 123", "terminación en 4521", "orden #45", "el 15", "a las 7".
    fn refers(&self, start: usize, digits: bool) -> bool {
        let mut i = start;
        while i > 0
            && self.tokens[i - 1].is_any(&["en", "in", "de", ":", "numero", "no", "."])
            && i + 3 > start
        {
            i -= 1;
        }
        // "la cuenta de 500" is about money; "la cuenta 500" is not.
        let through_de = i < start && self.tokens[i].is("de");
        if i == 0 || through_de {
            return false;
        }
        let before = &self.tokens[i - 1];
        let glued_word =
            i == start && before.kind == Kind::Word && self.tokens.get(start).is_some_and(|t| t.glued);
        let day = before.is_any(&["el", "las", "at"]);
        if day && !digits {
            return before.is("las") && start > 1;
        }
        // "no" refuses; only "no." and "no 5" with digits are numbers.
        let no = before.is("no") && !digits;
        glued_word || !no && self.any_before(i, REFERENCE)
    }

    /// `5²`, `20x`, `#7`, `1:30`: a sign or letter that touches the number and is none we know.
    fn glued_to_strange(&self, start: usize, end: usize) -> bool {
        let harmless = [
            ".", ",", ";", ":", "!", "?", "¿", "¡", "\"", "'", "’", "“", "”", "(", ")", "«", "»", "*", "_",
            "…",
        ];
        let strange = |token: &Token| token.kind == Kind::Sign && !token.is_any(&harmless);
        let before = start > 0 && self.tokens[start].glued && {
            let before = &self.tokens[start - 1];
            strange(before) || before.kind == Kind::Number
        };
        let after = self
            .tokens
            .get(end)
            .is_some_and(|after| after.glued && (strange(after) || after.kind == Kind::Number));
        before || after
    }

    /// "a la del 5 300 pesos": where the one number ends and the other begins nobody knows.
    fn spaced_after_reference(&self, start: usize) -> bool {
        let number = |i: usize| self.tokens.get(i).is_some_and(|token| token.kind == Kind::Number);
        number(start)
            && number(start + 1)
            && (self.any_before(start, REFERENCE) || self.any_before(start, "del, la, calle"))
    }

    /// "500 bitcoins", "2 tacos": a bare number before a word that is no part of a sentence about
    /// money counts that word.
    fn counts_the_unknown(&self, end: usize) -> bool {
        self.tokens
            .get(end)
            .is_some_and(|next| next.kind == Kind::Word && (next.glued || !next.is_in(MAY_FOLLOW)))
    }

    fn any_at(&self, i: usize, phrases: &str) -> bool {
        phrases.split(", ").any(|phrase| self.matches(i, phrase))
    }

    fn any_before(&self, i: usize, phrases: &str) -> bool {
        phrases.split(", ").any(|phrase| {
            let length = phrase.split(' ').count();
            i >= length && self.matches(i - length, phrase)
        })
    }

    fn matches(&self, i: usize, phrase: &str) -> bool {
        phrase
            .split(' ')
            .enumerate()
            .all(|(n, word)| self.tokens.get(i + n).is_some_and(|token| token.is(word)))
    }
}
