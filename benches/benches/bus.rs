//! Bars: the in-process bus carries at least 500,000 small messages a second from publish to ack on two cores; each
//! bus over a server at least 0.7 of what a bare client does with the same work in the same run.
//!
//! The same work: 64 publishers, each waiting for the server's word; one consumer that fetches up to 256 messages at
//! once; 64 settlements on their way, each waited for as the bus waits for it. Ours and the bare client's take turns.
//!
//! `NATS_URL`, `REDIS_URL` and `KAFKA_URL` name the servers (`.ci/services up nats redis kafka`); one that is not named
//! is left out.
#![allow(clippy::print_stdout)] // what it is for

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aiops_core::{BusSettings, Envelope, EventBus, KafkaBus, MemoryBus, NatsBus, RedisBus};
use async_nats::jetstream;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use tokio::sync::Notify;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T = ()> = Result<T, Failure>;

const MESSAGES: usize = 40_000;
const IN_PROCESS: usize = 1_000_000;
const AT_ONCE: usize = 64;
const FETCHED: usize = 256;
/// Of each kind, after one that warms up.
const RUNS: usize = 5;

fn message(number: usize) -> Envelope {
    let data = serde_json::json!({"service": "cart", "value": 1840.0, "expected": 310.0});
    Envelope::new(format!("018f2f6e-0000-7000-8000-{number:012}"), "/bench", "bench.v1", Timestamp::UNIX_EPOCH, data)
}

/// A name that no other run has.
fn fresh() -> String {
    let now = Timestamp::now().as_nanosecond();
    format!("bench.{}-{now}", std::process::id())
}

/// One way to carry messages.
#[async_trait]
trait Way: Send + Sync + 'static {
    async fn publish(&self, message: Envelope) -> Outcome;
    /// Takes and settles so many messages, and says so when the first is there.
    async fn consume(&self, messages: usize, began: &Notify) -> Outcome;
}

/// Messages a second, from the first publish to the last settlement. One message comes before, so that the consumer
/// has joined its group.
async fn rate(way: Arc<dyn Way>, messages: usize) -> Outcome<f64> {
    let joined = Arc::new(Notify::new());
    let consumer = tokio::spawn({
        let (way, joined) = (Arc::clone(&way), Arc::clone(&joined));
        async move { way.consume(messages + 1, &joined).await }
    });
    way.publish(message(messages)).await?;
    joined.notified().await;
    let began = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (way, next) = (Arc::clone(&way), Arc::clone(&next));
        publishers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages {
                    return Outcome::Ok(());
                }
                way.publish(message(number)).await?;
            }
        });
    }
    while let Some(done) = publishers.join_next().await {
        done??;
    }
    consumer.await??;
    Ok(messages as f64 / began.elapsed().as_secs_f64())
}

/// A bus of ours.
struct Ours {
    bus: Arc<dyn EventBus>,
    topic: String,
}

#[async_trait]
impl Way for Ours {
    async fn publish(&self, message: Envelope) -> Outcome {
        Ok(self.bus.publish(&self.topic, message).await?)
    }

    async fn consume(&self, messages: usize, began: &Notify) -> Outcome {
        let mut inbox = self.bus.subscribe(&self.topic, "g").await?;
        let mut settling = FuturesUnordered::new();
        let mut taken = 0;
        while taken < messages {
            tokio::select! {
                delivery = inbox.next(), if settling.len() < AT_ONCE => {
                    settling.push(delivery.ok_or("closed")??.ack());
                    taken += 1;
                    began.notify_one();
                }
                Some(settled) = settling.next() => settled?,
            }
        }
        while let Some(settled) = settling.next().await {
            settled?;
        }
        Ok(())
    }
}

struct BareNats {
    context: jetstream::Context,
    topic: String,
}

#[async_trait]
impl Way for BareNats {
    async fn publish(&self, message: Envelope) -> Outcome {
        let payload = serde_json::to_vec(&message)?;
        let message = jetstream::message::PublishMessage::build().payload(payload.into()).message_id(&message.id);
        self.context.send_publish(self.topic.clone(), message).await?.await?;
        Ok(())
    }

    async fn consume(&self, messages: usize, began: &Notify) -> Outcome {
        let stream = self.context.get_stream(self.topic.replace('.', "-")).await?;
        let config = jetstream::consumer::pull::Config { durable_name: Some("g".to_owned()), ..Default::default() };
        let consumer = stream.create_consumer(config).await?;
        let mut settling = FuturesUnordered::new();
        let mut taken = 0;
        while taken < messages {
            let mut batch = consumer.batch().max_messages(FETCHED).expires(Duration::from_secs(5)).messages().await?;
            loop {
                tokio::select! {
                    given = batch.next(), if settling.len() < AT_ONCE => {
                        let Some(given) = given else { break };
                        let given = given?;
                        serde_json::from_slice::<Envelope>(&given.payload)?;
                        settling.push(async move { given.double_ack().await });
                        taken += 1;
                        began.notify_one();
                        if taken == messages {
                            break;
                        }
                    }
                    Some(settled) = settling.next() => settled?,
                }
            }
        }
        while let Some(settled) = settling.next().await {
            settled?;
        }
        Ok(())
    }
}

/// Its id, and one field with its name.
type Entry = (String, Vec<Vec<u8>>);

struct BareRedis {
    client: redis::Client,
    connection: redis::aio::MultiplexedConnection,
    topic: String,
}

#[async_trait]
impl Way for BareRedis {
    async fn publish(&self, message: Envelope) -> Outcome {
        let payload = serde_json::to_vec(&message)?;
        let mut command = redis::cmd("XADD");
        command.arg(&self.topic).arg("*").arg("envelope").arg(payload);
        Ok(command.exec_async(&mut self.connection.clone()).await?)
    }

    async fn consume(&self, messages: usize, began: &Notify) -> Outcome {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(5)));
        let mut reader = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg("g").arg("c").arg("COUNT").arg(FETCHED).arg("BLOCK").arg(1_000);
        read.arg("STREAMS").arg(&self.topic).arg(">");
        let mut settling = FuturesUnordered::new();
        let mut taken = 0;
        while taken < messages {
            let reply: Option<Vec<(String, Vec<Entry>)>> = read.query_async(&mut reader).await?;
            for (id, fields) in reply.into_iter().flatten().flat_map(|(_, entries)| entries) {
                serde_json::from_slice::<Envelope>(fields.get(1).ok_or("no envelope")?)?;
                taken += 1;
                began.notify_one();
                if settling.len() == AT_ONCE {
                    settling.next().await.ok_or("none")??;
                }
                let mut connection = self.connection.clone();
                let mut ack = redis::cmd("XACK");
                ack.arg(&self.topic).arg("g").arg(id);
                settling.push(async move { ack.exec_async(&mut connection).await });
            }
        }
        while let Some(settled) = settling.next().await {
            settled?;
        }
        Ok(())
    }
}

struct BareKafka {
    producer: FutureProducer,
    config: ClientConfig,
    topic: String,
}

#[async_trait]
impl Way for BareKafka {
    async fn publish(&self, message: Envelope) -> Outcome {
        let payload = serde_json::to_vec(&message)?;
        let record = FutureRecord::to(&self.topic).payload(&payload).key(&message.id);
        self.producer.send(record, Timeout::After(Duration::from_secs(10))).await.map_err(|(error, _)| error)?;
        Ok(())
    }

    async fn consume(&self, messages: usize, began: &Notify) -> Outcome {
        let mut config = self.config.clone();
        config.set("group.id", &self.topic).set("auto.offset.reset", "earliest");
        config.set("enable.auto.offset.store", "false").set("auto.commit.interval.ms", "200");
        let consumer: StreamConsumer = config.create()?;
        consumer.subscribe(&[&self.topic])?;
        for _ in 0..messages {
            let given = consumer.recv().await?;
            serde_json::from_slice::<Envelope>(given.payload().unwrap_or_default())?;
            consumer.store_offset_from_message(&given)?;
            began.notify_one();
        }
        tokio::task::spawn_blocking(move || drop(consumer)).await?;
        Ok(())
    }
}

fn settings() -> BusSettings {
    BusSettings::default().topics(6, 1)
}

fn kafka(url: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    // Tansu lets a new group wait for half of it: as long for both.
    config.set("bootstrap.servers", url.trim_start_matches("kafka://")).set("session.timeout.ms", "6000");
    config
}

/// Of ours, and of a bare client; on a topic of its own that is there.
async fn ways(kind: &str, url: &str) -> Outcome<(Arc<dyn Way>, Arc<dyn Way>)> {
    let bus: Arc<dyn EventBus> = match kind {
        "nats" => Arc::new(NatsBus::connect(url, settings()).await?),
        "redis" => Arc::new(RedisBus::connect(url, settings()).await?),
        _ => Arc::new(KafkaBus::with_config(kafka(url), settings()).await?),
    };
    let (ours, topic) = (fresh(), fresh());
    for (topic, group) in [(&ours, "g"), (&topic, if kind == "nats" { "unused" } else { "g" })] {
        drop(bus.subscribe(topic, group).await?);
    }
    let bare: Arc<dyn Way> = match kind {
        "nats" => Arc::new(BareNats { context: jetstream::new(async_nats::connect(url).await?), topic }),
        "redis" => {
            let client = redis::Client::open(url)?;
            let connection = client.get_multiplexed_async_connection().await?;
            Arc::new(BareRedis { client, connection, topic })
        }
        _ => {
            let mut producer = kafka(url);
            producer.set("enable.idempotence", "true").set("linger.ms", "0");
            Arc::new(BareKafka { producer: producer.create()?, config: kafka(url), topic })
        }
    };
    Ok((Arc::new(Ours { bus, topic: ours }), bare))
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn in_process() -> Outcome {
    let mut rates = Vec::new();
    for run in 0..=RUNS {
        let bus: Arc<dyn EventBus> = Arc::new(MemoryBus::default());
        let topic = fresh();
        let mut inbox = bus.subscribe(&topic, "g").await?;
        // Made before, so that the bus is measured and not what is carried.
        let messages: Vec<Envelope> = (0..IN_PROCESS)
            .map(|number| Envelope::new(number.to_string(), "/b", "b.v1", Timestamp::UNIX_EPOCH, number.into()))
            .collect();
        let began = Instant::now();
        let consumer = tokio::spawn(async move {
            for _ in 0..IN_PROCESS {
                inbox.next().await.ok_or("closed")??.ack().await?;
            }
            Outcome::Ok(())
        });
        for message in messages {
            bus.publish(&topic, message).await?;
        }
        consumer.await??;
        if run > 0 {
            rates.push(IN_PROCESS as f64 / began.elapsed().as_secs_f64());
        }
    }
    println!("in process: {:.0} messages a second, publish to ack (bar 500,000)", median(rates));
    Ok(())
}

fn main() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // `cargo test` runs it with this argument.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    runtime.block_on(in_process())?;
    for (kind, variable) in [("nats", "NATS_URL"), ("redis", "REDIS_URL"), ("kafka", "KAFKA_URL")] {
        let Ok(url) = std::env::var(variable) else {
            println!("{kind}: left out, {variable} is not set");
            continue;
        };
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for run in 0..=RUNS {
            let (our_way, bare_way) = runtime.block_on(ways(kind, &url))?;
            let pair = (runtime.block_on(rate(our_way, MESSAGES))?, runtime.block_on(rate(bare_way, MESSAGES))?);
            if run > 0 {
                ours.push(pair.0);
                bare.push(pair.1);
            }
        }
        let (ours, bare) = (median(ours), median(bare));
        println!("{kind}: {ours:.0} messages a second, bare client {bare:.0}, ratio {:.2} (bar 0.7)", ours / bare);
    }
    Ok(())
}
