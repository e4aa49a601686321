//! As much of HTTP/1 as it takes to set up a server of this machine and to stand in front of one.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
/// A head that is longer is not one of ours.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A request or an answer.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// `PUT /a HTTP/1.1`, `HTTP/1.1 200 OK`.
    pub(super) first_line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Reads a message; the body of one that does not tell its length is empty in a request and goes on to the end of
    /// the connection in an answer.
    pub(super) fn read(stream: &mut TcpStream, is_request: bool) -> io::Result<Self> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 16 << 10]);
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let count = stream.read(&mut buffer)?;
            if count == 0 || bytes.len() > HEAD_BYTES_MAX {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&buffer[..count]);
        };
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| line.split_once(':').map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()));
        let mut message =
            Self { first_line, headers: lines.filter_map(header).collect(), body: bytes.split_off(head + 4) };
        match message.header("content-length").map(str::parse) {
            Some(Ok(length)) => {
                let here = message.body.len();
                message.body.resize(length, 0);
                stream.read_exact(&mut message.body[here.min(length)..])?;
            }
            _ if is_request => {}
            _ => drop(stream.read_to_end(&mut message.body)?),
        }
        Ok(message)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The method and the target of a request.
    pub(super) fn target(&self) -> (&str, &str) {
        let mut words = self.first_line.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// The status of an answer.
    pub(super) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(super) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// One request to a server of this machine.
pub(super) fn ask(port: u16, method: &str, target: &str, headers: &str, body: &[u8]) -> io::Result<Message> {
    let mut stream = connect(port)?;
    write!(
        stream,
        "{method} {target} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    Message::read(&mut stream, false)
}

/// Everything that stands between `<tag>` and `</tag>`.
pub(super) fn elements(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).map(str::to_owned).collect()
}
