//! Bytes that say what they are, and whether they were cut or changed.

use aiops_core::BoxError;

use crate::template::hash;

/// `body` behind its name, version and checksum.
pub(crate) fn seal(name: &str, version: u32, body: &[u8]) -> Vec<u8> {
    [format!("{name} {version} {:016x}\n", hash(body)).as_bytes(), body].concat()
}

/// What was sealed under a name and version.
pub(crate) fn open<'a>(name: &str, version: u32, bytes: &'a [u8]) -> Result<&'a [u8], BoxError> {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, body) = bytes.split_at(line);
    let body = body.get(1..).unwrap_or_default();
    let Some(checksum) = header.strip_prefix(format!("{name} {version} ").as_bytes()) else {
        return Err(format!("it does not begin with {name} and version {version}").into());
    };
    if checksum != format!("{:016x}", hash(body)).as_bytes() {
        return Err("its checksum does not fit: it was cut or changed".into());
    }
    Ok(body)
}
