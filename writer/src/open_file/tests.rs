use frazil_storage::Env;

use super::*;

#[tokio::test]
async fn a_panic_of_the_encoder_is_an_error() {
    let env = Env::in_memory(1);
    let (_sender, mut pieces) = mpsc::channel(1);
    let mut file = env.store.writer("memory://w/f").await.unwrap();
    let ended = pump::<()>(&Threads::new(1), "memory://w/f", &mut pieces, &mut file, || panic!("no such codec")).await;
    let error = ended.unwrap_err().to_string();
    assert_eq!(error, "the encoder of memory://w/f stopped without a result: no such codec");
}

#[tokio::test]
async fn bytes_reach_the_store_while_the_encoder_runs() {
    let env = Env::in_memory(1);
    let (sender, mut pieces) = mpsc::channel(PIECES_IN_FLIGHT);
    let mut file = env.store.writer("memory://w/f").await.unwrap();
    // More pieces than the channel holds: the thread ends only if they are taken meanwhile.
    let work = move || {
        (0..100u8)
            .try_for_each(|i| sender.blocking_send(Bytes::from(vec![i])))
            .map_err(|_| ParquetError::EOF(String::new()))
    };
    pump(&Threads::new(1), "memory://w/f", &mut pieces, &mut file, work).await.unwrap();
    file.finish().await.unwrap();
    assert_eq!(env.store.read("memory://w/f").await.unwrap(), (0..100u8).collect::<Vec<_>>());
}
