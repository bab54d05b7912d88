//! People, money and things to try the bank with.

use steadfast_core::{Currency, Failure, Money, Principal, TenantId};

use crate::{
    AccountId, Ask, Bank, Contact, Key, Limits, Op, ProductId,
    op::{ListProduct, OpenAccount},
};

/// Who sells everything.
pub const MERCHANT: &str = "mercado";

const ACCOUNTS: [(&str, &str, i64); 5] = [
    ("ana", "checking", 2_500_000),
    ("ana", "savings", 10_000_000),
    ("luis", "checking", 800_000),
    ("marta", "checking", 150_000),
    (MERCHANT, "checking", 0),
];

/// Who know each other, by their first names.
const FRIENDS: [(&str, &str); 3] = [("Ana", "ana"), ("Luis", "luis"), ("Marta", "marta")];

/// Id, name, price in centavos, stock.
const PRODUCTS: [(&str, &str, i64, u32); 22] = [
    ("cafe-chiapas", "Café de altura, 1 kg / Highland coffee", 38_900, 120),
    ("taza-barro", "Taza de barro negro / Black clay mug", 24_500, 60),
    ("molino-manual", "Molino manual / Hand grinder", 89_900, 25),
    ("chocolate-mesa", "Chocolate de mesa / Table chocolate", 12_900, 200),
    ("miel-azahar", "Miel de azahar / Orange blossom honey", 18_500, 90),
    ("mezcal-espadin", "Mezcal espadín / Espadín mezcal", 64_900, 40),
    ("rebozo-azul", "Rebozo azul / Blue shawl", 132_000, 12),
    ("hamaca-yute", "Hamaca de yute / Jute hammock", 99_500, 18),
    ("guitarra-viajera", "Guitarra viajera / Travel guitar", 345_000, 7),
    ("lampara-cobre", "Lámpara de cobre / Copper lamp", 178_000, 9),
    ("mochila-lona", "Mochila de lona / Canvas backpack", 72_500, 35),
    ("cuaderno-amate", "Cuaderno de papel amate / Amate notebook", 15_900, 150),
    ("audifonos-nube", "Audífonos Nube / Nube headphones", 129_900, 30),
    ("teclado-faro", "Teclado Faro / Faro keyboard", 219_000, 15),
    ("cargador-sol", "Cargador solar Sol / Sol solar charger", 84_900, 22),
    ("bici-plegable", "Bicicleta plegable / Folding bicycle", 689_000, 5),
    ("casco-urbano", "Casco urbano / City helmet", 67_500, 28),
    ("tienda-norte", "Tienda de campaña Norte / Norte tent", 258_000, 8),
    ("termo-pino", "Termo Pino / Pino flask", 44_900, 75),
    ("ajedrez-olivo", "Ajedrez de olivo / Olive wood chess", 112_000, 10),
    ("telescopio-luna", "Telescopio Luna / Luna telescope", 425_000, 4),
    ("alebrije-unico", "Alebrije firmado, pieza única / Signed alebrije, one of a kind", 149_900, 1),
];

/// Seeds a tenant, once: what is there already is left as it is, and what is missing of a
/// store that an older version seeded is added.
pub async fn seed(bank: &Bank, tenant: &TenantId) -> Result<(), Failure> {
    let admin = Principal::system(tenant.clone());
    let mxn = |minor| {
        Money::new(minor, Currency::MXN).map_err(|error| Failure::internal("demo.amount", error.to_string()))
    };
    let wrong = |error| Failure::internal("demo.name", format!("{error}"));
    for (owner, name, opening) in ACCOUNTS {
        let account = AccountId::of(owner, name).map_err(wrong)?;
        let key = Key::Import(format!("demo/{account}"));
        let op = OpenAccount {
            account,
            owner: owner.into(),
            name: name.into(),
            opening: mxn(opening)?,
            floor: 0,
            limits: Limits::default(),
        };
        bank.open_account(&admin, key, op).await?;
    }
    for (_, me) in FRIENDS {
        let others = FRIENDS.iter().filter(|(_, user)| *user != me);
        let contacts: Vec<Contact> =
            others.map(|(name, user)| Contact { name: (*name).into(), user: (*user).into() }).collect();
        bank.first_contacts(tenant, me, &contacts).await?;
    }
    let merchant = AccountId::of(MERCHANT, "checking").map_err(wrong)?;
    for (id, name, price, stock) in PRODUCTS {
        let product: ProductId = id.parse().map_err(wrong)?;
        let op = Op::ListProduct(ListProduct {
            product,
            name: name.into(),
            price: mxn(price)?,
            stock,
            merchant: merchant.clone(),
        });
        let key = Key::Import(format!("demo/{id}"));
        bank.ask(Ask::new(op, admin.clone(), key)).await?;
    }
    Ok(())
}
