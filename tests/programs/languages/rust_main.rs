use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{mpsc, Arc, Mutex};
fn main() {
    let total = Arc::new(Mutex::new(0u64));
    let threads: Vec<_> = (0..6u64)
        .map(|i| {
            let t = total.clone();
            std::thread::spawn(move || {
                for k in 0..1000 {
                    *t.lock().unwrap() += i * k;
                }
            })
        })
        .collect();
    for t in threads {
        t.join().unwrap();
    }
    println!("{}", total.lock().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for s in listener.incoming().take(20) {
            let mut s = s.unwrap();
            let mut b = [0; 5];
            s.read_exact(&mut b).unwrap();
            s.write_all(&b).unwrap();
        }
    });
    for _ in 0..20 {
        let mut s = TcpStream::connect(address).unwrap();
        s.write_all(b"hello").unwrap();
        let mut text = String::new();
        s.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }
    server.join().unwrap();
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        for i in 0..5 {
            tx.send(i).unwrap();
        }
    });
    println!("{:?}", rx.iter().collect::<Vec<i32>>());
    let mut map = BTreeMap::new();
    for w in "a b a c".split(' ') {
        *map.entry(w).or_insert(0) += 1;
    }
    println!("{:?}", map);
    std::fs::write("/tmp/rust-test-file", "text").unwrap();
    println!("{}", std::fs::read_to_string("/tmp/rust-test-file").unwrap());
    std::fs::remove_file("/tmp/rust-test-file").unwrap();
    println!(
        "{:?}",
        std::panic::catch_unwind(|| {
            panic!("caught");
        })
        .is_err()
    );
    std::process::exit(6);
}
