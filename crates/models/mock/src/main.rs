//! `steadfast-models-mock 127.0.0.1:7499 chunks=20,every=5ms`: the same, by itself.

use std::io::Write as _;

use steadfast_models_mock::{Mock, Plan};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let plan: Plan = arguments.next().unwrap_or_default().parse()?;
    let mock = Mock::on(tokio::net::TcpListener::bind(listen).await?, plan)?;
    writeln!(std::io::stdout(), "{}", mock.url())?;
    mock.serve().await;
    Ok(())
}
