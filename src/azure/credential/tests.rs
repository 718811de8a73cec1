use super::*;
use crate::azure::credential::token_proxy::TokenProxySettings;
use crate::class::cloud::CloudChoice;
use crate::class::identity::IdentityId;
use crate::transport::TransportSettings;

fn workload(client_id: &str, assertion: &str) -> Identity {
    Identity::Workload {
        client_id: client_id.into(),
        assertion: assertion.to_owned().into(),
    }
}

fn credentials() -> Credentials {
    let metrics = Metrics::default();
    let transport = Transport::new(&TransportSettings::default(), &metrics).unwrap();
    let token_proxy = TokenProxy::new(
        TokenProxySettings {
            url: "https://proxy".parse().unwrap(),
            server_name: None,
            ca_file: None,
            api_server_address: None,
            api_server_port: 443,
        },
        &transport,
        metrics.traffic(AzureService::TokenProxy),
    );
    Credentials::new(transport, token_proxy, Clock::default(), &metrics)
}

/// The credential of a managed identity that a namespace uses.
fn managed(credentials: &Credentials, namespace: &str, client_id: &str) -> Credential {
    let identity = Identity::Managed(IdentityId::ClientId(client_id.into()));
    let (cloud, tenant) = (Cloud::public(), TenantId::new("t").unwrap());
    let key = IdentityKey::of(&identity, &tenant, &cloud);
    credentials
        .get_or_build(&Namespace::new(namespace), &identity, &tenant, &cloud, &key)
        .unwrap()
}

fn ended(credential: &Credential, token_length: Option<usize>) {
    let token = token_length.map(|length| AccessToken {
        token: "x".repeat(length).into(),
        expires_on: OffsetDateTime::now_utc() + Duration::from_secs(3600),
    });
    let keeping = credential.0.keeping.as_ref().unwrap();
    keeping.ended(&credential.0, token.as_ref());
}

#[tokio::test(start_paused = true)]
async fn one_is_kept_from_its_first_token_on() {
    let credentials = credentials();
    let same = |one: &Credential, other: &Credential| Arc::ptr_eq(&one.0, &other.0);
    let get = |client_id: &str| managed(&credentials, "n", client_id);
    let first = get("a");
    assert!(same(&first, &get("a")), "all who come meanwhile share it");
    let gone = Arc::downgrade(&first.0);
    drop(first);
    assert!(gone.upgrade().is_none());
    // One that is refused is remembered until it may be asked for again.
    let refused = get("a");
    ended(&refused, None);
    let gone = Arc::downgrade(&refused.0);
    drop(refused);
    assert!(
        gone.upgrade()
            .is_some_and(|refused| Arc::ptr_eq(&refused, &get("a").0))
    );
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(gone.upgrade().is_none());
    let proved = get("a");
    ended(&proved, Some(2000));
    ended(&proved, None);
    let kept = Arc::downgrade(&proved.0);
    drop(proved);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(
        kept.upgrade()
            .is_some_and(|kept| Arc::ptr_eq(&kept, &get("a").0))
    );
}

#[tokio::test(start_paused = true)]
async fn those_of_one_namespace_push_out_no_others() {
    let credentials = credentials();
    let victim = managed(&credentials, "victim", "of-victim");
    ended(&victim, Some(2000));
    let shared = managed(&credentials, "attacker", "of-the-node");
    ended(&shared, Some(2000));
    managed(&credentials, "victim", "of-the-node");
    let of_attacker: Vec<_> = (0..300)
        .map(|n| {
            let one = managed(&credentials, "attacker", &format!("a{n}"));
            ended(&one, Some(100_000));
            ended(&managed(&credentials, "attacker", &format!("r{n}")), None);
            Arc::downgrade(&one.0)
        })
        .collect();
    let left = of_attacker.iter().filter(|one| one.strong_count() > 0);
    assert!(left.count() < 100);
    for (mine, client_id) in [(victim, "of-victim"), (shared, "of-the-node")] {
        let kept = managed(&credentials, "victim", client_id);
        let weak = Arc::downgrade(&mine.0);
        drop(mine);
        drop(kept);
        assert!(weak.upgrade().is_some(), "{client_id}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_take_one_timer_however_many_they_are() {
    let credentials = credentials();
    for round in 0..2 {
        for n in 0..1_000 {
            let one = managed(&credentials, "attacker", &format!("r{round}-{n}"));
            ended(&one, None);
        }
        let metrics = tokio::runtime::Handle::current().metrics();
        assert_eq!(metrics.num_alive_tasks(), 1);
        tokio::time::sleep(Duration::from_secs(6)).await;
        // Nothing is left to look after.
        assert_eq!(metrics.num_alive_tasks(), 0);
    }
}

#[test]
fn identities_share_a_credential_only_with_themselves() {
    let credentials = credentials();
    let namespace = Namespace::new("n");
    let (cloud, tenant) = (Cloud::public(), TenantId::new("t").unwrap());
    let of = |identity: &Identity, tenant: &TenantId, cloud: &Cloud| {
        let key = IdentityKey::of(identity, tenant, cloud);
        credentials
            .get_or_build(&namespace, identity, tenant, cloud, &key)
            .unwrap()
    };
    let Ok(CloudChoice::Known(china)) = CloudChoice::new("AzureChinaCloud", "") else {
        panic!("China has a cloud");
    };
    let binding = Identity::Binding {
        client_id: "c".into(),
        assertion: "a.b.c".to_owned().into(),
    };
    let principal = Identity::ServicePrincipal {
        client_id: "c".into(),
        secret: "a.b.c".to_owned().into(),
    };
    let first = of(&workload("c", "a.b.c"), &tenant, &cloud);
    let again = of(&workload("c", "a.b.c"), &tenant, &cloud);
    assert!(Arc::ptr_eq(&first.0, &again.0));
    let others = [
        of(&workload("c", "a.b.d"), &tenant, &cloud),
        of(&workload("d", "a.b.c"), &tenant, &cloud),
        of(&binding, &tenant, &cloud),
        of(&principal, &tenant, &cloud),
        of(
            &workload("c", "a.b.c"),
            &TenantId::new("u").unwrap(),
            &cloud,
        ),
        of(&workload("c", "a.b.c"), &tenant, &china),
        of(
            &Identity::Managed(IdentityId::SystemAssigned),
            &tenant,
            &cloud,
        ),
        of(
            &Identity::Managed(IdentityId::ClientId("c".into())),
            &tenant,
            &cloud,
        ),
    ];
    for (index, other) in others.iter().enumerate() {
        assert!(!Arc::ptr_eq(&first.0, &other.0));
        assert!(
            others[..index]
                .iter()
                .all(|earlier| !Arc::ptr_eq(&earlier.0, &other.0))
        );
    }
}
