//! Records of several lines: the first line counts, and of a stack trace its first frame in the
//! application's own code (facts 3.4).

use super::mask;

/// Lines behind the first that are looked at for a frame.
const MAX_FRAMES: usize = 64;
/// Between the first line and the frame.
const BETWEEN: &[u8] = b" | ";
/// Code that an application calls: runtimes, standard libraries, common frameworks.
const FOREIGN: [&str; 27] = [
    "java.",
    "javax.",
    "jdk.",
    "sun.",
    "com.sun.",
    "kotlin.",
    "scala.",
    "akka.",
    "reactor.",
    "io.netty.",
    "io.grpc.",
    "org.apache.",
    "org.springframework.",
    "org.hibernate.",
    "org.eclipse.jetty.",
    "com.google.common.",
    "System.",
    "Microsoft.",
    "node:",
    "internal/",
    "core::",
    "std::",
    "alloc::",
    "tokio::",
    "runtime.",
    "runtime/",
    "net/http.",
];
/// The same, wherever it stands in the frame's file.
const FOREIGN_PATHS: [&str; 6] =
    ["/node_modules/", "site-packages/", "dist-packages/", "/lib/python", "/usr/local/go/", "/rustc/"];

/// Masks a record into `out`, over what is there.
pub(super) fn masked(record: &[u8], out: &mut Vec<u8>) {
    let end = mask::mask(record, out);
    if end < record.len() {
        let rest = &record[end..record.len().min(end + 4 * mask::MAX_LINE)];
        if let Some(frame) = first_own_frame(rest) {
            let mut masked = Vec::new();
            mask::mask(frame.as_bytes(), &mut masked);
            if out.len() + BETWEEN.len() + masked.len() <= mask::MAX_LINE {
                out.extend_from_slice(BETWEEN);
                out.extend_from_slice(&masked);
            }
        }
    }
}

/// The frame nearest to the fault that is the application's own; else the nearest one.
fn first_own_frame(rest: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(rest);
    let mut frames: Vec<String> = text.lines().take(MAX_FRAMES).filter_map(frame).collect();
    // Python tells the call nearest to the fault last.
    if text.contains("  File \"") {
        frames.reverse();
    }
    let own = frames.iter().position(|frame| {
        !FOREIGN.iter().any(|foreign| frame.starts_with(foreign))
            && !FOREIGN_PATHS.iter().any(|foreign| frame.contains(foreign))
    });
    if frames.is_empty() { None } else { Some(frames.swap_remove(own.unwrap_or(0))) }
}

/// What a line of a stack trace names, without its line number: Java, JavaScript, C#, Python, Rust, Go.
fn frame(line: &str) -> Option<String> {
    let trimmed = line.trim();
    if trimmed.len() == line.trim_end().len() && !trimmed.contains(".go:") {
        return None; // Frames are indented.
    }
    if let Some(python) = trimmed.strip_prefix("File \"") {
        let (file, behind) = python.split_once('"')?;
        let function = behind.rsplit_once(" in ").map_or("", |(_, function)| function);
        return Some(format!("{file}#{function}"));
    }
    if let Some(call) = trimmed.strip_prefix("at ") {
        return Some(call.split(['(', ' ']).next().unwrap_or(call).to_owned());
    }
    let numbered = trimmed.split_once(": ").filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some((_, call)) = numbered {
        return Some(call.to_owned());
    }
    trimmed.split_once(".go:").map(|(file, _)| format!("{file}.go"))
}

#[cfg(test)]
mod tests {
    use crate::template::mask_line;

    #[test]
    fn a_stack_trace_is_told_by_its_first_own_frame() {
        let trace = |frame: &str, line: u32| {
            format!(
                "java.lang.IllegalStateException: order {line}\n\tat java.base/java.lang.Thread.run(Thread.java:1)\n\
                 \tat org.apache.Pool.run(Pool.java:{line})\n\tat com.shop.{frame}(Cart.java:{line})\n"
            )
        };
        let masked = |frame, line| mask_line(trace(frame, line).as_bytes());
        assert_eq!(masked("Cart.add", 3), masked("Cart.add", 44));
        assert_ne!(masked("Cart.add", 3), masked("Cart.pay", 3));
    }

    #[test]
    fn a_python_trace_ends_at_the_fault() {
        let text = b"Traceback (most recent call last):\n  File \"/srv/app/main.py\", line 3, in main\n    pay()\n  \
            File \"/usr/lib/python3/site-packages/http.py\", line 8, in get\n    raise\n";
        assert_eq!(mask_line(text), "Traceback (most recent call last): | *");
    }

    #[test]
    fn other_lines_behind_the_first_do_not_count() {
        assert_eq!(mask_line(b"failed\nwith more\n"), "failed");
        assert_eq!(mask_line(b"\n\nfailed\r\n"), "failed");
    }
}
