use bytes::Bytes;

use super::*;
use crate::Store;

const NAME: &str = "/w/t/metadata/v1.json";
const LOCATION: &str = "file:///w/t/metadata/v1.json";

/// The worst, and some of the rest.
fn cuts() -> impl Iterator<Item = Option<u64>> {
    std::iter::once(None).chain((0..8).map(Some))
}

/// Writes on a disk whose power goes off after some calls, cuts it, and checks what a new process finds: `content` if
/// the write was acknowledged, else that or `before`. Gives whether it was acknowledged.
async fn survives<W: AsyncFn(Store) -> crate::Result<()>>(
    disk: PowerDisk,
    before: Option<&'static str>,
    content: &str,
    (calls, seed): (u64, Option<u64>),
    write: W,
) -> bool {
    let disk = Arc::new(disk);
    let new_process = || Store::new().on_disk(Arc::clone(&disk));
    if let Some(before) = before {
        new_process().put(LOCATION, before.into()).await.unwrap();
    }
    disk.cut_after(calls);
    let acknowledged = write(new_process()).await.is_ok();
    disk.cut(seed);
    let found = match new_process().read(LOCATION).await {
        Ok(found) => Some(found),
        Err(error) if error.is_not_found() => None,
        Err(error) => panic!("{error}"),
    };
    let place = format!("cut after {calls} calls, seed {seed:?}: {found:?}");
    match found {
        Some(found) if found == content => {}
        found => {
            assert!(!acknowledged, "what was acknowledged is lost, {place}");
            assert_eq!(
                found,
                before.map(|text| Bytes::from_static(text.as_bytes())),
                "neither the old nor the new file, {place}"
            );
        }
    }
    acknowledged
}

/// Every moment of a write, until it needs no more calls.
async fn check_every_cut<W: AsyncFn(Store) -> crate::Result<()>>(
    before: Option<&'static str>,
    content: &str,
    write: W,
) {
    for has_unnamed in [true, false] {
        let disk = || if has_unnamed { PowerDisk::new() } else { PowerDisk::new().without_unnamed() };
        for calls in 0.. {
            let mut acknowledged = false;
            for seed in cuts() {
                acknowledged = survives(disk(), before, content, (calls, seed), &write).await;
            }
            if acknowledged {
                assert!(calls > 8, "so few calls cut nothing");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_new_file_survives_a_cut_at_every_moment_whole_or_not_at_all() {
    check_every_cut(None, "new", async |store: Store| store.put_new(LOCATION, "new".into()).await).await;
}

#[tokio::test]
async fn a_file_in_pieces_survives_too() {
    let write = async |store: Store| {
        let mut writer = store.writer(LOCATION).await?;
        for piece in ["n", "e", "w"] {
            writer.write(piece.into()).await?;
        }
        writer.finish().await.map(drop)
    };
    check_every_cut(None, "new", write).await;
}

#[tokio::test]
async fn a_replaced_file_is_the_old_or_the_new_one() {
    check_every_cut(Some("old"), "new", async |store: Store| store.put(LOCATION, "new".into()).await).await;
}

/// A writer that finds a folder that another has made and not yet synced makes it durable itself.
#[tokio::test]
async fn a_file_in_a_folder_of_others_survives() {
    let disk = Arc::new(PowerDisk::new());
    for folder in ["/w", "/w/t", "/w/t/metadata"] {
        disk.create_folder(Path::new(folder)).unwrap();
    }
    Store::new().on_disk(Arc::clone(&disk)).put_new(LOCATION, "new".into()).await.unwrap();
    disk.cut(None);
    assert_eq!(disk.read(Path::new(NAME)).unwrap(), b"new");
}

/// Which calls an order of writing leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naive {
    /// `std::fs::write`.
    InPlace,
    /// Written beside and moved, but the bytes are never synced.
    UnsyncedFile,
    /// The bytes are synced, the name is not.
    UnsyncedFolder,
    /// All but the name of the new folder.
    UnsyncedParent,
}

fn write_naively(disk: &PowerDisk, order: Naive, bytes: &[u8]) -> io::Result<()> {
    let (folder, path) = (Path::new("/w"), Path::new("/w/v1.json"));
    disk.create_folder(folder)?;
    let temporary = if order == Naive::InPlace { path } else { Path::new("/w/tmp") };
    let file = disk.create(temporary)?;
    file.write_all(bytes)?;
    if matches!(order, Naive::UnsyncedFolder | Naive::UnsyncedParent) {
        file.sync()?;
    }
    if order != Naive::InPlace {
        disk.rename(temporary, path, Mode::Create)?;
    }
    if order != Naive::UnsyncedFolder {
        disk.sync_folder(folder)?;
    }
    if order != Naive::UnsyncedParent {
        disk.sync_folder(Path::new("/"))?;
    }
    Ok(())
}

#[test]
fn every_call_that_is_left_out_loses_what_was_acknowledged() {
    for order in [Naive::InPlace, Naive::UnsyncedFile, Naive::UnsyncedFolder, Naive::UnsyncedParent] {
        let is_lost = |seed: Option<u64>| {
            let disk = PowerDisk::new();
            write_naively(&disk, order, b"acknowledged").unwrap();
            disk.cut(seed);
            disk.read(Path::new("/w/v1.json")).ok().as_deref() != Some(b"acknowledged".as_slice())
        };
        assert!(is_lost(None), "the model does not show what {order:?} loses");
        assert!(cuts().skip(1).any(is_lost), "no seed shows what {order:?} loses");
    }
}
