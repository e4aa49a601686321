//! A store that fails as stores do, by a seed.
//!
//! The faults lie between the code that tries again and the store itself, so what is tested is the real code. Which
//! request fails follows from the seed, the kind of request, the name, and how often that name was asked before: not
//! from the order in which tasks run. So a seed that found something finds it again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::backend::{AppendFile, Backend, Body, Entry, Failure, Lister, Mode, Outcome, Parts, Shown, Traits, Upload};
use crate::counters::Request;

/// How often which fault happens, each as a share of requests from 0 to 1, and how long requests take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRates {
    /// The request fails and has done nothing (503, a refused connection).
    pub error_before: f64,
    /// The request fails and was carried out (500 on the way back, a reset connection).
    pub error_after: f64,
    /// The request was carried out and no answer ever comes.
    pub lost_answer: f64,
    /// The request is not carried out and no answer ever comes.
    pub hang: f64,
    /// The answer to a read, or the body of a write, breaks off in the middle.
    pub torn: f64,
    /// A request takes up to this long.
    pub latency_ms_max: u64,
}

impl FaultRates {
    /// No faults, no delay.
    pub const NONE: Self =
        Self { error_before: 0.0, error_after: 0.0, lost_answer: 0.0, hang: 0.0, torn: 0.0, latency_ms_max: 0 };

    /// About every fifth request fails, in every way there is, and answers come in no order.
    pub const ROUGH: Self =
        Self { error_before: 0.06, error_after: 0.06, lost_answer: 0.03, hang: 0.03, torn: 0.04, latency_ms_max: 3 };
}

/// Faults that follow from a seed. See [`Store::with_faults`](crate::Store::with_faults).
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    rates: FaultRates,
    is_calm: AtomicBool,
    injected: AtomicU64,
    /// How often a kind of request was made for a name.
    asked: Mutex<HashMap<(Request, String), u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Before,
    After,
    Lost,
    Hang,
    Torn,
}

impl Faults {
    /// Faults at these rates.
    pub fn new(seed: u64, rates: FaultRates) -> Arc<Self> {
        let (is_calm, injected) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self { seed, rates, is_calm, injected, asked: Mutex::default() })
    }

    /// Whether faults stop from now on, or begin again.
    pub fn set_calm(&self, is_calm: bool) {
        self.is_calm.store(is_calm, Ordering::SeqCst);
    }

    /// Faults so far, delays not counted.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::SeqCst)
    }

    /// What happens to the next request of this kind for this name, after its delay.
    async fn next(&self, request: Request, name: &str) -> Fault {
        if self.is_calm.load(Ordering::SeqCst) {
            return Fault::None;
        }
        let nth = {
            let mut asked = self.asked.lock().expect("no code panics while it holds this lock");
            let nth = asked.entry((request, name.to_owned())).or_insert(0);
            *nth += 1;
            *nth
        };
        let mut hasher = DefaultHasher::new();
        (self.seed, request, name, nth).hash(&mut hasher);
        let mut random = StdRng::seed_from_u64(hasher.finish());
        let rates = &self.rates;
        if rates.latency_ms_max > 0 {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..=rates.latency_ms_max))).await;
        }
        let mut draw: f64 = random.random();
        let faults = [
            (Fault::Before, rates.error_before),
            (Fault::After, rates.error_after),
            (Fault::Lost, rates.lost_answer),
            (Fault::Hang, rates.hang),
            (Fault::Torn, rates.torn),
        ];
        for (fault, rate) in faults {
            if draw < rate {
                self.injected.fetch_add(1, Ordering::SeqCst);
                return fault;
            }
            draw -= rate;
        }
        Fault::None
    }
}

/// A backend behind faults.
#[derive(Clone, Debug)]
pub(crate) struct FaultyBackend {
    inner: Arc<dyn Backend>,
    faults: Arc<Faults>,
}

impl FaultyBackend {
    pub(crate) fn new(inner: Arc<dyn Backend>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }

    /// Carries a request out, or not, and answers, or not.
    async fn subject<T>(&self, request: Request, name: &str, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let fault = self.faults.next(request, name).await;
        self.strike(fault, work).await
    }

    async fn strike<T>(&self, fault: Fault, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        match fault {
            Fault::None => work.await,
            Fault::Before | Fault::Torn => Err(Failure::transient("a fault before anything was done")),
            Fault::Hang => Err(self.never("a fault: no answer, nothing was done").await),
            Fault::After => {
                work.await?;
                Err(Failure::transient("a fault after everything was done"))
            }
            Fault::Lost => {
                work.await?;
                Err(self.never("a fault: no answer, everything was done").await)
            }
        }
    }

    /// Where nobody would cut the attempt, an error stands for the silence.
    async fn never(&self, what: &'static str) -> Failure {
        if self.inner.traits().can_be_cut {
            std::future::pending::<()>().await;
        }
        Failure::transient(what)
    }
}

#[async_trait]
impl Backend for FaultyBackend {
    fn traits(&self) -> Traits {
        self.inner.traits()
    }

    async fn read(&self, key: &str) -> Outcome<Body> {
        let fault = self.faults.next(Request::Read, key).await;
        if fault != Fault::Torn {
            return self.strike(fault, self.inner.read(key)).await;
        }
        let body = self.inner.read(key).await?;
        let size_bytes = body.size_bytes;
        // A body that ends early without an error is what a proxy in the middle makes of a lost connection.
        let half = body.chunks.map(|chunk| chunk.map(|bytes| bytes.slice(..bytes.len() / 2))).boxed();
        Ok(Body { size_bytes: size_bytes.max(1), chunks: half })
    }

    async fn read_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Outcome<Vec<Bytes>> {
        self.subject(Request::Read, key, self.inner.read_ranges(key, ranges)).await
    }

    async fn head(&self, key: &str) -> Outcome<Entry> {
        self.subject(Request::Head, key, self.inner.head(key)).await
    }

    async fn put(&self, key: &str, bytes: Bytes, mode: Mode, stamp: &str) -> Outcome<()> {
        self.subject(Request::Write, key, self.inner.put(key, bytes, mode, stamp)).await
    }

    async fn stamp(&self, key: &str) -> Outcome<Option<String>> {
        self.subject(Request::Head, key, self.inner.stamp(key)).await
    }

    async fn delete(&self, key: &str) -> Outcome<()> {
        self.subject(Request::Delete, key, self.inner.delete(key)).await
    }

    /// Torn, a part of the files is deleted.
    async fn delete_many(&self, keys: &[String]) -> Outcome<Vec<Outcome<()>>> {
        let name = keys.first().map_or("", String::as_str);
        let fault = self.faults.next(Request::Delete, name).await;
        if fault != Fault::Torn {
            return self.strike(fault, self.inner.delete_many(keys)).await;
        }
        let (some, rest) = keys.split_at(keys.len() / 2);
        let mut answers = self.inner.delete_many(some).await?;
        answers.extend(rest.iter().map(|_| Err(Failure::transient("a fault: this one is left out"))));
        Ok(answers)
    }

    fn lister(&self, prefix: &str, shown: Shown) -> Box<dyn Lister> {
        let (inner, name) = (self.inner.lister(prefix, shown), prefix.to_owned());
        Box::new(FaultyLister { inner, name, backend: self.clone() })
    }

    async fn begin(&self, key: &str) -> Outcome<Upload> {
        match self.subject(Request::Write, key, self.inner.begin(key)).await? {
            Upload::Parts(inner) => {
                Ok(Upload::Parts(Arc::new(FaultyParts { inner, name: key.to_owned(), backend: self.clone() })))
            }
            Upload::Append(inner) => {
                Ok(Upload::Append(Box::new(FaultyFile { inner, name: key.to_owned(), backend: self.clone() })))
            }
        }
    }
}

struct FaultyLister {
    inner: Box<dyn Lister>,
    name: String,
    backend: FaultyBackend,
}

#[async_trait]
impl Lister for FaultyLister {
    /// A page that was lost on the way back can be asked for again only where the lister has not moved on, so faults
    /// strike before.
    async fn next_page(&mut self) -> Outcome<Option<Vec<Entry>>> {
        match self.backend.faults.next(Request::List, &self.name).await {
            Fault::None => {}
            Fault::Hang | Fault::Lost => return Err(self.backend.never("a fault: no page").await),
            _ => return Err(Failure::transient("a fault before a page")),
        }
        self.inner.next_page().await
    }
}

#[derive(Debug)]
struct FaultyParts {
    inner: Arc<dyn Parts>,
    name: String,
    backend: FaultyBackend,
}

#[async_trait]
impl Parts for FaultyParts {
    /// Torn, a part arrives short; the store keeps the last that is sent.
    async fn put_part(&self, index: usize, chunks: Vec<Bytes>) -> Outcome<String> {
        let name = format!("{}#{index}", self.name);
        let fault = self.backend.faults.next(Request::Part, &name).await;
        if fault != Fault::Torn {
            return self.backend.strike(fault, self.inner.put_part(index, chunks)).await;
        }
        let torn = chunks.iter().map(|chunk| chunk.slice(..chunk.len() / 2)).collect();
        self.inner.put_part(index, torn).await?;
        Err(Failure::transient("a fault: the part broke off"))
    }

    async fn complete(&self, parts: &[String]) -> Outcome<()> {
        self.backend.subject(Request::Write, &self.name, self.inner.complete(parts)).await
    }

    async fn abort(&self) -> Outcome<()> {
        self.backend.subject(Request::Delete, &self.name, self.inner.abort()).await
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn AppendFile>,
    name: String,
    backend: FaultyBackend,
}

#[async_trait]
impl AppendFile for FaultyFile {
    /// Appending is not tried again, so it fails for good.
    async fn write(&mut self, bytes: Bytes) -> Outcome<()> {
        match self.backend.faults.next(Request::Part, &self.name).await {
            Fault::None => self.inner.write(bytes).await,
            _ => Err(Failure::transient("a fault: the disk is full")),
        }
    }

    async fn settle(&mut self) -> Outcome<()> {
        match self.backend.faults.next(Request::Part, &self.name).await {
            Fault::None => self.inner.settle().await,
            _ => Err(Failure::transient("a fault: the disk failed")),
        }
    }

    async fn finish(&mut self, mode: Mode) -> Outcome<()> {
        let fault = self.backend.faults.next(Request::Write, &self.name).await;
        match fault {
            Fault::None => self.inner.finish(mode).await,
            Fault::After | Fault::Lost => {
                self.inner.finish(mode).await?;
                Err(Failure::transient("a fault after the file was finished"))
            }
            _ => Err(Failure::transient("a fault before the file was finished")),
        }
    }
}

#[cfg(test)]
mod tests;
