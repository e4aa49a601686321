//! S3's answers, as a server gives them.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{Error, RetryPolicy, Store, StoreConfig};

const POLICY: RetryPolicy = RetryPolicy {
    attempt_ms: 300,
    bytes_per_s_min: 1 << 20,
    total_ms: 10_000,
    attempts_max: 4,
    backoff_ms: 1,
    backoff_ms_max: 5,
};

/// What a server is to answer: status, headers, body. `None` is silence.
type Reply = Option<(u16, &'static str, String)>;

/// A server that gives its answers in order, the last one for ever, and keeps the requests.
struct Server {
    store: Store,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let (kept, given) = (Arc::clone(&requests), replies);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&kept), Arc::clone(&given)));
            }
        });
        let store = Store::new().with_retries(POLICY);
        let properties = [
            ("s3.endpoint", format!("http://{address}")),
            ("s3.access-key-id", "id".to_owned()),
            ("s3.secret-access-key", "secret".to_owned()),
            ("s3.region", "eu-west-1".to_owned()),
        ];
        store.configure(StoreConfig::new(properties.map(|(key, value)| (key.to_owned(), value))).unwrap());
        Self { store, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request per connection.
async fn answer(mut stream: TcpStream, kept: Arc<Mutex<Vec<String>>>, replies: Arc<Mutex<VecDeque<Reply>>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 64 << 10];
    let head = loop {
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        request.extend_from_slice(&buffer[..count]);
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    while request.len() < head + length.unwrap_or(0) {
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        request.extend_from_slice(&buffer[..count]);
    }
    kept.lock().unwrap().push(String::from_utf8_lossy(&request[..head]).into_owned());
    let reply = {
        let mut replies = replies.lock().unwrap();
        if replies.len() > 1 { replies.pop_front().flatten() } else { replies.front().cloned().flatten() }
    };
    let Some((status, headers, body)) = reply else {
        return tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    };
    let length =
        if headers.contains("content-length") { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{length}{headers}\r\n");
    stream.write_all(head.as_bytes()).await.ok();
    stream.write_all(body.as_bytes()).await.ok();
}

const MODIFIED: &str = "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\netag: \"e\"\r\n";

fn reply(status: u16) -> Reply {
    Some((status, MODIFIED, String::new()))
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_silence_is_cut() {
    let ok = Some((200, MODIFIED, "ice".to_owned()));
    let server = Server::start([reply(503), reply(429), None, ok]).await;
    assert_eq!(server.store.read("s3://b/k").await.unwrap(), "ice");
    let totals = server.store.counters().snapshot();
    assert_eq!((totals.reads, totals.retries, totals.timeouts), (4, 3, 1));
}

#[tokio::test]
async fn what_a_store_refuses_is_not_tried_again() {
    type IsKind = fn(&Error) -> bool;
    let kinds: [(u16, IsKind); 3] = [
        (400, |error| matches!(error, Error::Io { .. })),
        (403, |error| matches!(error, Error::Denied { .. })),
        (404, Error::is_not_found),
    ];
    for (status, is_kind) in kinds {
        let server = Server::start([reply(status)]).await;
        let error = server.store.read("s3://b/k").await.unwrap_err();
        assert!(is_kind(&error), "{status}: {error}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
    let missing = "<Error><Code>NoSuchBucket</Code></Error>".to_owned();
    let server = Server::start([Some((404, "", missing))]).await;
    let error = server.store.read("s3://b/k").await.unwrap_err();
    assert!(error.to_string().contains("bucket does not exist"), "{error}");
}

#[tokio::test]
async fn a_create_that_met_another_is_tried_again_and_one_that_lost_is_not() {
    let server = Server::start([reply(409), reply(200)]).await;
    server.store.put_new("s3://b/k", "x".into()).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "409 says that two creators met, not who won");
    assert!(requests[0].to_ascii_lowercase().contains("if-none-match: *"), "{}", requests[0]);

    let server = Server::start([reply(412)]).await;
    let error = server.store.put_new("s3://b/k", "x".into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
}

/// The first attempt creates the file and is answered with 500; the second hears that the name is taken.
#[tokio::test]
async fn a_file_that_an_attempt_without_an_answer_made_is_known_by_its_stamp() {
    let server = Server::start([reply(500), reply(412), reply(200)]).await;
    let error = server.store.put_new("s3://b/k", "x".into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "without our stamp it is another's: {error}");
    let put = server.requests()[0].to_ascii_lowercase();
    assert!(put.lines().any(|line| line.starts_with("x-amz-meta-frazil_stamp: ")), "{put}");
    assert!(server.requests()[2].starts_with("HEAD /b/k"), "{:?}", server.requests()[2]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_file() {
    let short = Some((200, "content-length: 9\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "ice".to_owned()));
    let whole = Some((200, MODIFIED, "icebergs!".to_owned()));
    let server = Server::start([short, whole]).await;
    assert_eq!(server.store.read("s3://b/k").await.unwrap(), "icebergs!");
    assert_eq!(server.store.counters().snapshot().retries, 1);
}

/// A page of S3's `ListObjectsV2`, with another behind it.
fn page(number: usize) -> Reply {
    let object = |i: usize| {
        format!(
            "<Contents><Key>t/{number:06}/{i:04} &amp; é</Key><Size>7</Size><ETag>e</ETag>\
             <LastModified>2024-01-02T03:04:05.000Z</LastModified></Contents>"
        )
    };
    let objects: String = (0..1_000).map(object).collect();
    let body = format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>n{number}</NextContinuationToken>\
         {objects}</ListBucketResult>"
    );
    Some((200, "", body))
}

/// However long a bucket is, only the pages are asked for that are read; a page that fails is asked for again.
#[tokio::test]
async fn a_listing_takes_page_after_page() {
    let replies = [page(0), reply(503), page(1), page(2)];
    let server = Server::start(replies).await;
    let mut listing = server.store.list("s3a://b/t").await.unwrap();
    let first = listing.next().await.unwrap().unwrap();
    assert_eq!(first.location, "s3a://b/t/000000/0000 & é", "spelt as it was asked for");
    assert_eq!((first.size_bytes, first.modified_ms), (7, 1_704_164_645_000));
    for _ in 1..1_500 {
        listing.next().await.unwrap().unwrap();
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 3, "two pages, one of them twice");
    assert!(requests[0].contains("prefix=t%2F"), "a neighbour t2 is not in it: {}", requests[0]);
    assert!(requests[1].contains("continuation-token=n0") && requests[2].contains("continuation-token=n0"));
}
