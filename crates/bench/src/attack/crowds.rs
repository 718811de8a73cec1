//! Attacks by number: connections, classes, vaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use azure_emulator::Emulator;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::attempt::{Attack, Course};
use super::class::{ATTACKER, Class, MANY, SECRET, VICTIMS_CLASS, client_id, one_of_many};
use super::scene::Scene;
use super::victim::Victim;

/// All of them.
pub fn attacks() -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(Connections),
        Box::new(Classes),
        Box::new(OpenFiles),
    ]
}

/// Connections to the port of the health check, each of which comes back as soon as it is answered or closed.
struct Connections;

impl Connections {
    const CLIENTS: usize = 40;
    /// Where they come from: not where probes do.
    const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    /// Most warnings, with those of the provider's start.
    const WARNINGS: usize = 10;

    /// Opens a connection, asks, and closes it once there is an answer.
    async fn ask(port: u16) -> std::io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Self::FROM, 0)))?;
        let mut stream = socket
            .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .await?;
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await?;
        match stream.read(&mut [0; 1024]).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl Attack for Connections {
    fn name(&self) -> &'static str {
        "40 connections to the health port"
    }

    fn what(&self) -> &'static str {
        "One client asks the health check on 40 connections at once, and comes back as soon as one is closed"
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let clients = (0..Self::CLIENTS).map(|_| async move {
            loop {
                _ = Self::ask(scene.health).await;
                tokio::task::yield_now().await;
            }
        });
        join_all(clients).map(drop).boxed()
    }

    fn promise<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<(), String>> {
        let log = scene.provider.log();
        let warnings = log.lines().filter(|line| line.contains("WARN")).count();
        let held = if warnings <= Self::WARNINGS {
            Ok(())
        } else {
            Err(format!("{warnings} warnings in the log"))
        };
        std::future::ready(held).boxed()
    }
}

/// More classes than have metrics of their own.
struct Classes;

impl Classes {
    const CLASSES: usize = 600;

    async fn metrics(port: u16) -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        Ok(page)
    }
}

impl Attack for Classes {
    fn name(&self) -> &'static str {
        "600 junk classes"
    }

    fn what(&self) -> &'static str {
        "600 mounts that fail, each of another class, while the metrics have room for 500"
    }

    // What the victim has mounted before the attack must be in the metrics after it.
    fn course(&self) -> Course {
        Course::Finite
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let pods = (0..Self::CLASSES).map(|number| {
            Class::new(ATTACKER)
                .with("secretProviderClass", format!("junk-{number}"))
                .managed(&client_id(1))
                .with("objects", "junk")
                .pod()
        });
        scene.mount_all(8, pods).boxed()
    }

    fn promise<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<(), String>> {
        async move {
            // The victim's mounts after the attack would bring its series back: nothing but the attack counts here.
            self.attack(scene).await;
            let page = timeout(Duration::from_secs(5), Self::metrics(scene.metrics)).await;
            let page = page
                .map_err(|_| "the metrics do not answer".to_owned())?
                .map_err(|error| format!("the metrics do not answer: {error}"))?;
            if page.contains(VICTIMS_CLASS) {
                Ok(())
            } else {
                Err("the victim's class has no metrics any more".to_owned())
            }
        }
        .boxed()
    }
}

/// Few open files, and a vault for each of them.
struct OpenFiles;

impl OpenFiles {
    const AT_ONCE: usize = 16;
}

impl Attack for OpenFiles {
    fn name(&self) -> &'static str {
        "200 vaults, 64 open files"
    }

    fn what(&self) -> &'static str {
        "Mounts from 200 vaults, each over a connection that stays, where a process may have 64 files open"
    }

    fn victim(&self) -> Victim {
        Victim::Newcomers
    }

    fn open_files(&self) -> Option<u32> {
        Some(64)
    }

    fn prepare(&self, azure: &Emulator) {
        for number in 0..MANY {
            let vault = azure.vault(&one_of_many(number));
            vault.allow_everyone();
            vault.set_secret(SECRET, "value");
        }
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let class = Class::new(ATTACKER).workload(&scene.azure, &client_id(1));
        async move {
            loop {
                let pods = (0..MANY).map(|number| class.clone().vault(&one_of_many(number)).pod());
                scene.mount_all(Self::AT_ONCE, pods).await;
            }
        }
        .boxed()
    }
}
