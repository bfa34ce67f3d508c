//! aiops inside a service that a team already runs: one process, one port, the service's own login.
//!
//! `STAFF=ada:secret1,bob:secret2 INTAKE_TOKEN=secret3 cargo run --example embedded_service --features embedded
//! [-- ADDRESS]` serves on 127.0.0.1:8080, or on ADDRESS. The first of the staff is on call. Alertmanager posts to
//! `/intake/alertmanager` with the token; people log in at `/login` and find what waits at `/aiops/page`. What is
//! acted on is a simulated cluster with the pods `cart-1` to `cart-3` of the service `cart` in the namespace `shop`.
//! Exit code 2 where it cannot start.

use std::io::{self, Write};
use std::process::ExitCode;

use aiops_core::{BoxError, CancellationToken, SystemClock, error_chain};
use aiops_examples::embedded::{Embedded, Staff, embedded};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "embedded_service: {}", error_chain(&*error));
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let staff = std::env::var("STAFF").map_err(|_| "STAFF is not set: name:secret,name:secret")?;
    let people = staff.split(',').map(|person| {
        let (name, secret) = person.split_once(':').ok_or("STAFF: a person is name:secret")?;
        let plain = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain { Ok((name.to_owned(), secret.to_owned())) } else { Err("STAFF: a secret is letters and digits") }
    });
    let staff = Staff::new(&people.collect::<Result<Vec<_>, _>>()?);
    let token = std::env::var("INTAKE_TOKEN").map_err(|_| "INTAKE_TOKEN is not set")?;

    let Embedded { app, pipeline, .. } = embedded(&staff, &token, SystemClock)?;
    let listener = TcpListener::bind(&address).await?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let server = async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        });
        let outcome = served.await;
        stop.cancel();
        outcome
    };
    let (served, ran) = tokio::join!(server, pipeline.run(shutdown));
    served?;
    Ok(ran?)
}
