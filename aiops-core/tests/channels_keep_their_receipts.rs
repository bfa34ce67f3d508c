//! A channel gets back the receipt that it gave for the same incident, also after a restart.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use aiops_core::{MemoryStateStore, Notice, NoticeDelivery, Notifier, NotifyError, Pipeline, Receipt};
use common::{Journal, Pager, PausedClock, anomaly, run_for};
use mockall::predicate::eq;

/// What a chat system offers: a new message, or an edit of one that is there.
#[mockall::automock]
trait ChatApi {
    fn post(&self, text: String) -> String;
    fn edit(&self, message: String, text: String) -> String;
}

struct Chat(MockChatApi);

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chat")
    }
}

#[async_trait::async_trait]
impl Notifier for Chat {
    fn channel(&self) -> &str {
        "chat"
    }

    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        let text = common::word(&notice.kind).to_owned();
        Ok(Receipt::new(match previous.and_then(|receipt| receipt.value().as_str()) {
            Some(message) => self.0.edit(message.to_owned(), text),
            None => self.0.post(text),
        }))
    }
}

/// Expects one new message that says this, and nothing else.
fn expecting_a_post(text: &'static str) -> Chat {
    let mut api = MockChatApi::new();
    api.expect_post().times(1).with(eq(text.to_owned())).returning(|_| "message 7".to_owned());
    Chat(api)
}

/// Expects one edit of the message before, and nothing else.
fn expecting_an_edit(text: &'static str) -> Chat {
    let mut api = MockChatApi::new();
    let arguments = (eq("message 7".to_owned()), eq(text.to_owned()));
    api.expect_edit().times(1).with(arguments.0, arguments.1).returning(|message, _| message);
    Chat(api)
}

#[tokio::test(start_paused = true)]
async fn the_announcements_receipt_comes_with_the_resolve() {
    let (clock, store) = (PausedClock::new(), Arc::new(MemoryStateStore::default()));
    let run = |chat: Chat| {
        Pipeline::builder()
            .with_clock(clock)
            .detector(anomaly("checkout", 10, 30, 300))
            .notify(chat)
            .state(Arc::clone(&store))
            .build()
            .unwrap()
    };
    run_for(run(expecting_a_post("announced")), 200).await.unwrap();
    run_for(run(expecting_an_edit("resolved")), 1_200).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_channel_gets_the_notice_where_the_host_asks_for_it() {
    let (clock, journal) = (PausedClock::new(), Journal::default());
    let pipeline = Pipeline::builder()
        .with_clock(clock)
        .detector(anomaly("checkout", 10, 30, 3_600))
        .notify(expecting_a_post("announced"))
        .notify(Pager(journal.clone()))
        .notice_delivery(NoticeDelivery::Every)
        .build()
        .unwrap();
    run_for(pipeline, 200).await.unwrap();
    assert_eq!(journal.lines(), ["announced checkout"]);
}
