//! The receipts of channels, one book per channel in the state store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::Receipt;
use crate::lock::lock;
use crate::names::IncidentId;
use crate::stage::Saved;
use crate::store::StateError;

/// Incidents whose receipts are kept of one channel: a later notice of an older one starts a new
/// message there.
const KEPT: usize = 1_000;
/// Tries to save against another writer of the same book.
const TRIES: u32 = 3;

/// Oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Book {
    receipts: VecDeque<(IncidentId, Receipt)>,
}

impl Book {
    fn put(&mut self, incident: &IncidentId, receipt: &Receipt) {
        self.receipts.retain(|(known, _)| known != incident);
        self.receipts.push_back((incident.clone(), receipt.clone()));
        if self.receipts.len() > KEPT {
            self.receipts.pop_front();
        }
    }

    fn find(&self, incident: &IncidentId) -> Option<Receipt> {
        self.receipts.iter().find(|(known, _)| known == incident).map(|(_, receipt)| receipt.clone())
    }
}

/// The books of all channels, read once and then kept in memory; read each time where other replicas
/// write them too.
#[derive(Debug)]
pub(super) struct Receipts {
    saved: Option<Arc<Saved>>,
    books: Mutex<BTreeMap<String, (Book, u64)>>,
}

fn key(channel: &str) -> String {
    format!("aiops/receipts/{channel}")
}

impl Receipts {
    pub(super) fn new(saved: Option<Arc<Saved>>) -> Self {
        Self { saved, books: Mutex::default() }
    }

    /// The receipt of an incident. A store that fails costs the receipt, not the notice.
    pub(super) async fn find(&self, channel: &str, incident: &IncidentId) -> Option<Receipt> {
        if let Some(saved) = &self.saved
            && (saved.replica().is_some() || !lock(&self.books).contains_key(channel))
        {
            match saved.load::<Book>(&key(channel)).await {
                Ok(Some(book)) => {
                    let mut books = lock(&self.books);
                    if books.get(channel).is_none_or(|known| known.1 < book.1) {
                        books.insert(channel.to_owned(), book);
                    }
                }
                Ok(None) => {}
                Err(_) if saved.replica().is_some() => {}
                Err(_) => return None,
            }
        }
        lock(&self.books).get(channel).and_then(|(book, _)| book.find(incident))
    }

    /// Keeps a receipt. A save that fails costs it at the next start.
    pub(super) async fn put(&self, channel: &str, incident: &IncidentId, receipt: &Receipt) {
        for _ in 0..TRIES {
            let (book, version) = {
                let mut books = lock(&self.books);
                let (book, version) = books.entry(channel.to_owned()).or_default();
                book.put(incident, receipt);
                (book.clone(), *version)
            };
            let Some(saved) = &self.saved else { return };
            match saved.save(&key(channel), &book, version).await {
                Ok(version) => {
                    if let Some((_, known)) = lock(&self.books).get_mut(channel) {
                        *known = version.max(*known);
                    }
                    return;
                }
                Err(StateError::Conflict { .. }) => {
                    let Ok(Some(theirs)) = saved.load::<Book>(&key(channel)).await else { return };
                    lock(&self.books).insert(channel.to_owned(), theirs);
                }
                Err(_) => return,
            }
        }
    }
}
