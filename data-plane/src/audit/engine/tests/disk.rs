//! A disk in memory with a page cache, a size, and a day on which it fails.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::audit::fs::{Fs, FsFile};

/// What fails next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A write is short, and the one after it fails.
    Write,
    /// A write fails without a byte.
    WriteNone,
    /// An fsync fails, and what it should have covered is never made durable.
    Sync,
    /// A file can't be shortened.
    SetLen,
    /// A file can't be made.
    Create,
    /// A file can't be renamed.
    Rename,
    /// A file can't be removed.
    Remove,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    /// As a program reads it.
    data: Vec<u8>,
    /// As it is after a power cut.
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    capacity: Option<usize>,
    faults: Vec<Fault>,
    /// Operations until the process or the machine dies.
    fuse: Option<u32>,
    dead: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
pub(crate) struct DiskFile {
    disk: Disk,
    inode: usize,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|inode| state.inodes[*inode].data.clone())
    }

    /// Replaces a file, durably, as somebody with an editor would.
    pub(crate) fn put(&self, name: &str, data: Vec<u8>) {
        let mut state = self.state();
        state.inodes.push(Inode { data: data.clone(), durable: data });
        let inode = state.inodes.len() - 1;
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    pub(crate) fn set_capacity(&self, capacity: Option<usize>) {
        self.state().capacity = capacity;
    }

    pub(crate) fn used(&self) -> usize {
        self.state().used()
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    pub(crate) fn forgive(&self) {
        self.state().faults.clear();
    }

    /// The process dies at the operation after `operations` more; a write that it is in is cut in the middle.
    pub(crate) fn die_after(&self, operations: u32) {
        self.state().fuse = Some(operations);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The process starts again; the machine had gone on.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.dead = false;
        state.fuse = None;
        state.faults.clear();
    }

    /// The machine loses power: of what was not synced, a part of each file's end survives.
    pub(crate) fn power_cut(&self, mut luck: impl FnMut(usize) -> usize) {
        let mut state = self.state();
        for inode in &mut state.inodes {
            let fresh = inode.data.len().saturating_sub(inode.durable.len());
            if inode.data.starts_with(&inode.durable) {
                let survives = inode.durable.len() + luck(fresh + 1);
                inode.data.truncate(survives);
            } else {
                inode.data = inode.durable.clone();
            }
            inode.durable = inode.data.clone();
        }
        if luck(2) == 0 {
            state.names = state.durable_names.clone();
        }
        state.durable_names = state.names.clone();
        drop(state);
        self.restart();
    }
}

impl State {
    fn used(&self) -> usize {
        self.names.values().map(|inode| self.inodes[*inode].data.len()).sum()
    }

    /// One operation: fails when the process is dead, or dies now, or this operation is set to fail.
    fn operate(&mut self, fault: Option<Fault>) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("dead"));
        }
        match &mut self.fuse {
            Some(0) => {
                self.dead = true;
                return Err(io::Error::other("died"));
            }
            Some(rest) => *rest -= 1,
            None => {}
        }
        if let Some(at) = fault.and_then(|fault| self.faults.iter().position(|each| *each == fault)) {
            self.faults.remove(at);
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Fs for Disk {
    type File = DiskFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        Ok(state
            .names
            .iter()
            .map(|(name, inode)| (name.clone(), state.inodes[*inode].data.len() as u64))
            .collect())
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let state = self.state();
        let data = &state.inodes[state.inode(name)?].data;
        Ok(data[..data.len().min(usize::try_from(limit).unwrap_or(usize::MAX))].to_vec())
    }

    fn read_at(&self, name: &str, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
        let state = self.state();
        let data = &state.inodes[state.inode(name)?].data;
        let start = data.len().min(usize::try_from(offset).unwrap());
        let end = data.len().min(start.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)));
        Ok(data[start..end].to_vec())
    }

    fn create(&self, name: &str, _private: bool) -> io::Result<DiskFile> {
        let mut state = self.state();
        state.operate(Some(Fault::Create))?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.names.insert(name.to_owned(), inode);
        Ok(DiskFile { disk: self.clone(), inode })
    }

    fn open(&self, name: &str) -> io::Result<DiskFile> {
        let inode = self.state().inode(name)?;
        Ok(DiskFile { disk: self.clone(), inode })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(Some(Fault::Rename))?;
        let inode = state.inode(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(Some(Fault::Remove))?;
        state.inode(name)?;
        state.names.remove(name);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate(None)?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

impl FsFile for DiskFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        if state.faults.contains(&Fault::WriteNone) && !state.dead {
            return state.operate(Some(Fault::WriteNone)).map(|()| 0);
        }
        let was_dead = state.dead;
        let result = state.operate(Some(Fault::Write));
        let room = state.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(state.used()));
        let part = match &result {
            _ if was_dead => 0,
            Ok(()) => bytes.len().min(700),
            Err(_) => bytes.len() / 2,
        };
        let part = part.min(room);
        let data = &mut state.inodes[self.inode].data;
        data.extend_from_slice(&bytes[..part]);
        if result.is_err() && !state.dead {
            state.faults.push(Fault::WriteNone);
            return Ok(part);
        }
        result?;
        if part == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(part)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let result = state.operate(Some(Fault::Sync));
        if result.is_ok() {
            let inode = &mut state.inodes[self.inode];
            inode.durable = inode.data.clone();
        }
        result
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate(Some(Fault::SetLen))?;
        state.inodes[self.inode].data.truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate(None)?;
        let length = usize::try_from(length).unwrap();
        let room = state.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(state.used()));
        let data = &mut state.inodes[self.inode].data;
        if length.saturating_sub(data.len()) > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if data.len() < length {
            data.resize(length, 0);
        }
        Ok(())
    }
}
