//! A server that goes away and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aiops_core::{BusError, EventBus};

use super::checks::{counted, fresh, message, next, value};
use super::server::Server;

/// Row 68: influxdb_iox #3761. While the server is gone, `publish` waits up to its deadline and is an error, `next`
/// tells so as well, both are to be seen in the gauges; once it is back, everything goes on by itself.
pub(crate) async fn is_told_and_passes(server: &mut Server, bus: Arc<dyn EventBus>, deadline: Duration) {
    let (metrics, _guard) = counted();
    let topic = fresh("outage");
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    bus.publish(&topic, message("before")).await.unwrap();
    let delivery = next(&mut inbox).await;
    delivery.ack().await.unwrap();

    server.kill();
    let began = Instant::now();
    let error = bus.publish(&topic, message("lost")).await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable { .. }) && error.is_retryable(), "{error}");
    assert!(began.elapsed() >= deadline, "it gave up after {:?}", began.elapsed());
    assert!(began.elapsed() < deadline * 4 + Duration::from_secs(5), "it waited for {:?}", began.elapsed());
    assert_eq!(metrics.value("aiops_bus_connected"), Some(0.0));
    let told = tokio::time::timeout(deadline * 4 + Duration::from_secs(5), inbox.next()).await;
    assert!(matches!(told, Ok(Some(Err(_)))), "`next` says nothing: {told:?}");

    // What is published while it starts waits for it.
    let (held, ()) = tokio::join!(bus.publish(&topic, message("during")), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.start_again();
    });
    held.unwrap();
    let came = loop {
        let delivery = loop {
            match inbox.next().await.unwrap() {
                Ok(delivery) => break delivery,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        };
        let id = delivery.envelope().id.clone();
        delivery.ack().await.unwrap();
        // One whose answer was lost may have arrived.
        if id != "lost" {
            break id;
        }
    };
    assert_eq!(came, "during");
    assert_eq!(metrics.value("aiops_bus_connected"), Some(1.0));
    assert!(value(&metrics, "aiops_bus_reconnects_total") >= 1.0);
}
