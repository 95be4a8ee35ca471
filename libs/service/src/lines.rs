//! JSON messages of others, one a line, read as npm reads JSON before anybody else reads them.

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex,
};

/// The longest line that is looked at, in bytes; a longer one is handed on as it is.
const LONGEST: u64 = 16 << 20;
/// How much waits for a slow taker, in bytes.
const WAITS: usize = 64 << 10;

/// The same lines, those that are no strict JSON made so: see [`packline_json::parse`]. What is no JSON by any reading is
/// handed on as it is. Ends with `input`, and drops it when nobody takes the lines any more.
pub fn as_npm_reads_them(input: impl AsyncRead + Send + Unpin + 'static) -> DuplexStream {
    let (lines, mut taker) = duplex(WAITS);
    tokio::spawn(async move {
        let mut input = BufReader::new(input);
        let mut line = Vec::new();
        // A line that is too long comes in pieces.
        let mut is_rest = false;
        while matches!(piece(&mut input, &mut line).await, Ok(length) if length > 0) {
            let ends = line.last() == Some(&b'\n');
            if ends && !is_rest {
                line = strict(&line);
            }
            is_rest = !ends;
            if taker.write_all(&line).await.is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}

async fn piece(input: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<usize> {
    input.take(LONGEST).read_until(b'\n', line).await
}

/// A line as strict JSON.
fn strict(line: &[u8]) -> Vec<u8> {
    match packline_json::parse(line) {
        Ok(value) => format!("{value}\n").into_bytes(),
        Err(_) => line.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_become_strict_json_and_what_is_none_stays() {
        let written = [
            "{\"b\": NaN, \"a\": \"cut \\ud83d\"}\r\n".to_owned(),
            "no JSON\n\n".to_owned(),
            format!("[{}]\n", "1,".repeat(9 << 20)),
            "[1 ]\nthe rest".to_owned(),
        ];
        let mut lines = as_npm_reads_them(std::io::Cursor::new(written.concat()));
        let mut read = String::new();
        lines.read_to_string(&mut read).await.unwrap();
        let expected = ["{\"a\":\"cut \u{FFFD}\",\"b\":null}\nno JSON\n\n", &written[2], "[1]\nthe rest"].concat();
        assert!(read == expected, "{:?}…", read.get(..100));
    }

    #[tokio::test]
    async fn what_nobody_takes_is_read_no_more() {
        let (ours, theirs) = duplex(16);
        let lines = as_npm_reads_them(theirs);
        drop(lines);
        let (_, mut write) = tokio::io::split(ours);
        while write.write_all(b"1\n").await.is_ok() {}
    }
}
