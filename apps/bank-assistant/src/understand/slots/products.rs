//! The words for a product, and how many of it.

use std::num::NonZeroU32;

use super::{
    super::{amount, meaning::Quantity, text::Kind},
    Message,
};

/// Words of asking, buying and being polite, which stand before and after the product.
const AROUND: &str = "\
    quiero quisiera necesito deseo gustaria voy querer puedes podrias podria me te se lo la le los las \
    el un una unos unas del al de en a por para y o que cual cuales cuanto cuanta cuantos cuantas \
    comprar comprame compra compro comprarme comprarlo adquirir llevo llevar llevarme ordena ordename \
    ordenar pide pideme pedir dame deme das agrega agregar agregame anade anadir echa echame pon ponme \
    mete mi tu su carrito paga pagar haz hazme hacer pedido procede con apartame aparta encargame \
    encarga ya ahora ahorita busca buscar busco buscame buscando ando estoy muestrame mostrar muestra \
    mostrarme ensename ensena ver recomiendame recomiendas recomienda recomiendan sugieres sugiere \
    sugiereme opciones opcion hay tienes tienen tendran tendras venden vendes manejan ofrecen existencia \
    existencias disponible disponibles disponibilidad inventario stock esta estan agotado agotada \
    agotados agoto cuesta cuestan vale valen sale salen precio precios tiene queda quedan alguna alguno \
    algun todavia aun siguen teniendo cuando vuelve vuelven haber llega llego resurten checa checar \
    checame verifica verificar revisa si unidad unidades pieza piezas porfa porfis porfavor favor \
    gracias oferta ofertas como dan es hola oye oiga buenas bodega dime digame finaliza hasta mandame \
    ordeno i catalogo productos comprale want would d like need to buy purchase order get us the an some \
    any my your you do does have has is are it there how much many cost costs price of what which s in \
    available availability left back when will be sold out show see find browse search looking look for \
    m recommend suggest add and cart ll take place check still units unit please can could kind kinds \
    sell offer grab give buying now thanks deals on mejor prefiero cambialo instead rather better actually";
/// Here the product has ended and its price, purpose or payment begins.
const CUT: &str = "\
    menos pagalo pagala pago cobralo under paying using maximo porque because";
/// Twelve of them, or some: not a count.
const VAGUE: &str = "\
    docena docenas varios varias dozen several par couple pares";

/// The product and its quantity.
pub(super) fn read(message: &Message<'_>) -> (Option<String>, Quantity) {
    let tokens = message.tokens;
    let mut start = 0;
    let mut quantity = Quantity::Missing;
    while start < tokens.len() {
        let token = &tokens[start];
        if let Some((end, count)) = counted(message, start) {
            quantity = count;
            start = end;
        } else if token.is_in(VAGUE) {
            quantity = Quantity::Unclear;
            start += 1;
        } else if token.kind == Kind::Sign || token.is_in(AROUND) {
            start += 1;
        } else {
            break;
        }
    }
    let mut end = start;
    while end < tokens.len() && !cut(message, end) {
        end += 1;
    }
    while end > start && (tokens[end - 1].kind == Kind::Sign || tokens[end - 1].is_in(AROUND)) {
        end -= 1;
    }
    let words = message.written(start, end);
    ((!words.is_empty()).then(|| words.to_owned()), quantity)
}

fn cut(message: &Message<'_>, i: usize) -> bool {
    let token = &message.tokens[i];
    let inside = token.glued && message.tokens.get(i + 1).is_some_and(|next| next.glued);
    token.kind == Kind::Sign && !inside || token.is_in(CUT)
}

/// A number before the product: "dos", "3". "un" and "a" say nothing.
fn counted(message: &Message<'_>, start: usize) -> Option<(usize, Quantity)> {
    if message.is_any(start, &["un", "una", "uno", "a", "half", "medio", "media", "y", "and"]) {
        return None;
    }
    let (end, count) = amount::count_at(message.tokens, start, message.language)?;
    let or = message.is_any(end, &["o", "u", "or", "a", "to", "-"]) && message.number_at(end + 1);
    let end = if or { amount::count_at(message.tokens, end + 1, message.language)?.0 } else { end };
    Some((end, if or { Quantity::Unclear } else { quantity(count) }))
}

/// A count that is at least one.
pub(in super::super) fn quantity(count: Option<u32>) -> Quantity {
    count.and_then(NonZeroU32::new).map_or(Quantity::Unclear, Quantity::Exact)
}
