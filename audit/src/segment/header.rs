//! The header of a segment.

use uuid::Uuid;

use super::{FORMAT_VERSION, HEADER_LEN};
use crate::chain::{Epoch, InstanceId};
use crate::record::Retention;
use crate::value::Digest;

const MAGIC: &[u8; 8] = b"KTAUDSEG";
const CRC_AT: usize = HEADER_LEN - 4;
const FLAG_IMMUTABLE: u32 = 1;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The instance.
    pub instance: InstanceId,
    /// The run that wrote it.
    pub epoch: Epoch,
    /// The number of that run, from 1.
    pub ordinal: u64,
    /// The number of the segment in the instance, from 1.
    pub segment: u64,
    /// The sequence of its first record.
    pub first_sequence: u64,
    /// The hash of the record before its first one.
    pub previous: Digest,
    /// When it was begun, microseconds since 1970 UTC.
    pub created_us: i64,
    /// The longest retention of its records.
    pub retention: Retention,
}

/// Why bytes are no header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    #[error("file ends in its header")]
    Short,
    /// It doesn't begin as a segment does.
    #[error("not an audit segment")]
    NotASegment,
    /// A later format.
    #[error("segment has format {version}, newer than the {FORMAT_VERSION} that this program reads")]
    Newer {
        /// The version that it names.
        version: u16,
    },
    /// The header was altered.
    #[error("header of the segment was altered")]
    Altered,
}

impl Header {
    /// The bytes of this header.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(HEADER_LEN).unwrap_or(u16::MAX).to_le_bytes());
        let flags = if self.retention.immutable { FLAG_IMMUTABLE } else { 0 };
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(self.instance.0.as_bytes());
        bytes.extend_from_slice(&self.epoch.0);
        bytes.extend_from_slice(&self.ordinal.to_le_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.first_sequence.to_le_bytes());
        bytes.extend_from_slice(&self.previous.0);
        bytes.extend_from_slice(&self.created_us.to_le_bytes());
        bytes.extend_from_slice(&self.retention.days.to_le_bytes());
        bytes.resize(CRC_AT, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.try_into().unwrap_or([0; HEADER_LEN])
    }

    /// Reads the header that `bytes` begin with.
    ///
    /// # Errors
    /// When there is none that can be trusted.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut fields = Fields(bytes);
        let magic: [u8; 8] = fields.take()?;
        if magic != *MAGIC {
            return Err(HeaderError::NotASegment);
        }
        let version = u16::from_le_bytes(fields.take()?);
        let stored: [u8; 4] =
            bytes.get(CRC_AT..).and_then(|b| b.first_chunk()).copied().ok_or(HeaderError::Short)?;
        // The checksum is taken as if the version were ours: where it is right then, only the version was altered.
        let crc = crc32c::crc32c(MAGIC);
        let crc = crc32c::crc32c_append(crc, &FORMAT_VERSION.to_le_bytes());
        let rest = bytes.get(10..CRC_AT).ok_or(HeaderError::Short)?;
        let intact = stored == crc32c::crc32c_append(crc, rest).to_le_bytes();
        if version > FORMAT_VERSION && !intact {
            return Err(HeaderError::Newer { version });
        }
        if version != FORMAT_VERSION || !intact {
            return Err(HeaderError::Altered);
        }
        let _length: [u8; 2] = fields.take()?;
        let flags = u32::from_le_bytes(fields.take()?);
        Ok(Self {
            instance: InstanceId(Uuid::from_bytes(fields.take()?)),
            epoch: Epoch(fields.take()?),
            ordinal: u64::from_le_bytes(fields.take()?),
            segment: u64::from_le_bytes(fields.take()?),
            first_sequence: u64::from_le_bytes(fields.take()?),
            previous: Digest(fields.take()?),
            created_us: i64::from_le_bytes(fields.take()?),
            retention: Retention {
                days: u32::from_le_bytes(fields.take()?),
                immutable: flags & FLAG_IMMUTABLE != 0,
            },
        })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(HeaderError::Short)?;
        self.0 = rest;
        Ok(*field)
    }
}
