//! `provider-azure-rs validate`, over manifests in a folder: no socket, no network, no cluster.

mod kubernetes;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::bad_input::bad_classes;
use crate::support::class::Class;

/// The repository's root.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provider-azure-rs"));
    command.env_clear().arg("validate").args(arguments);
    command
}

/// The exit status and standard output.
fn ended(output: Output) -> (i32, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// Checks files in a folder of their own, from inside of it.
fn validate(files: &[(&str, &str)], arguments: &[&str]) -> (i32, String) {
    let folder = folder(files);
    ended(
        command(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap(),
    )
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, contents) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    folder
}

fn through_stdin(text: &[u8], arguments: &[&str]) -> (i32, String) {
    let mut process = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A check that has read enough closes its end.
    _ = process.stdin.take().unwrap().write_all(text);
    ended(process.wait_with_output().unwrap())
}

/// The findings of one manifest.
fn findings(manifest: &str, arguments: &[&str]) -> Vec<Value> {
    let (_, json) = validate(
        &[("c.yaml", manifest)],
        &[&["-o", "json", "c.yaml"], arguments].concat(),
    );
    serde_json::from_str(&json).unwrap()
}

/// What matters of a finding: `line:column severity REASON field`.
fn short(finding: &Value) -> String {
    let text = |name: &str| finding[name].as_str().unwrap().to_owned();
    format!(
        "{}:{} {} {} {}",
        finding["line"],
        finding["column"],
        text("severity"),
        text("reason"),
        text("field")
    )
}

#[test]
fn the_examples_are_clean() {
    let (status, said) = ended(
        command(&["--strict", "examples"])
            .current_dir(ROOT)
            .output()
            .unwrap(),
    );
    assert_eq!(status, 0, "{said}");
    assert!(
        said.ends_with("\n6 classes checked: 0 errors, 0 warnings\n"),
        "{said}"
    );
}

#[test]
fn what_a_mount_refuses_is_found_at_its_place() {
    for (class, words) in bad_classes() {
        let manifest = class.manifest();
        let found = findings(&manifest, &[]);
        let found = found
            .iter()
            .find(|finding| {
                format!(
                    "[{}] {}",
                    finding["reason"].as_str().unwrap(),
                    finding["message"].as_str().unwrap()
                )
                .contains(words)
            })
            .unwrap_or_else(|| panic!("{manifest}\n{found:?} should have {words}"));
        // Without an identity a class is of use to pods that bring a service principal.
        let severity = match found["reason"].as_str().unwrap() {
            "IDENTITY_MISSING" => "warning",
            _ => "error",
        };
        assert_eq!(found["severity"], severity, "{found}");
        assert_eq!(
            (&found["file"], &found["class"]),
            (&"c.yaml".into(), &"a-class".into())
        );
        assert!(!found["fix"].as_str().unwrap().is_empty(), "{found}");
        // The place is the field's, or else what it should be in.
        let line = usize::try_from(found["line"].as_u64().unwrap()).unwrap();
        let line = manifest.lines().nth(line - 1).unwrap();
        let field = found["field"].as_str().unwrap();
        let name = field.rsplit('.').next().unwrap();
        let name = name.split('[').next().unwrap();
        let about = [
            name,
            "tenantId",
            "parameters:",
            "objectName:",
            "objectType:",
        ];
        assert!(
            about.iter().any(|word| line.contains(word)) || field.starts_with("objects"),
            "{line} is not about {field}"
        );
    }
}

#[test]
fn what_a_mount_accepts_has_no_errors() {
    let good = Class::of_secret("a");
    for class in [
        good.clone(),
        good.clone().with("clientID", "c"),
        good.clone()
            .with("clientID", "c")
            .with("useAzureTokenProxy", "true"),
        good.clone().with("useVMManagedIdentity", "T"),
        good.clone()
            .with("objects", "[{objectName: 12, objectType: cert, tags: {}}]"),
        good.clone().object(
            "objectName: b\nobjectType: secret\nobjectFormat: PFX\nobjectVersionHistory: 5",
        ),
        good.with("cloudName", "AzureStackCloud")
            .with("cloudEnvFileName", "/etc/stack/azure.json"),
    ] {
        let (status, said) = validate(&[("c.yaml", &class.manifest())], &["c.yaml"]);
        assert_eq!(status, 0, "{said}");
    }
}

const BAD: &str = r#"# Everything at once.
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: bad
spec:
  provider: azure
  paramters: {}
  parameters:
    keyvaultName: kv.example.com
    tenantID: 42ddc44e-97dd-4c3b-bf8a-31c785e24c67
    tenantId: u
    useVMManagedIdentity: true
    usePodIdentity: "false"
    keyVaultName: kv1
    cloudEnvFileName: /x
    objects: |
      # The first is right.
      array:
        - |
          objectName: a
          objectType: secret
          objectVersionHistory: 3
        -
        - |
          objectName: x
          objectType: secrets
          filePermission: 0o644
        - objectName: b
          objectType: secret
          objectAlias: a/1
          objectVerson: 3
        - "objectName: c"
        - |
          objectName: [
"#;

#[test]
fn everything_that_is_wrong_with_a_class_is_found() {
    let found: Vec<_> = findings(BAD, &[]).iter().map(short).collect();
    assert_eq!(
        found,
        [
            "8:3 warning UNKNOWN_FIELD spec.paramters",
            "10:19 error INVALID_PARAMETER keyvaultName",
            "12:15 warning NO_EFFECT tenantId",
            "13:27 error NOT_A_STRING useVMManagedIdentity",
            "14:5 note DEPRECATED usePodIdentity",
            "15:5 warning UNKNOWN_PARAMETER keyVaultName",
            "16:5 warning NO_EFFECT cloudEnvFileName",
            "27:23 error INVALID_PARAMETER objects[1].objectType",
            "28:27 error INVALID_PARAMETER objects[1].filePermission",
            "31:24 error PATH_CONFLICT objects[2].objectAlias",
            "32:11 warning UNKNOWN_FIELD objects[2].objectVerson",
            "33:11 error INVALID_PARAMETER objects[3].objectType",
            "35:23 error INVALID_PARAMETER objects[4]",
        ]
    );
    let (status, said) = validate(&[("bad.yaml", BAD)], &["bad.yaml"]);
    assert_eq!(status, 1);
    let expected = r#"
bad.yaml:27:23: error[INVALID_PARAMETER]: objects[1] "x": objectType: expected secret, key or cert, found "secrets"
   |
27 |           objectType: secrets
   |                       ^^^^^^^
   = class: bad
   = fix: write objectType: secret
"#;
    assert!(said.contains(expected), "{said}");
    assert!(
        said.ends_with("\n1 class checked: 7 errors, 5 warnings\n"),
        "{said}"
    );
}

/// A class that is right, with these lines under `spec`.
fn class(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata:\n  name: {name}\nspec:\n  \
         provider: azure-rs\n{spec}"
    )
}

const PARAMETERS: &str = "  parameters:
    keyvaultName: kv1
    tenantID: 42ddc44e-97dd-4c3b-bf8a-31c785e24c67
    clientID: e502213f-1f15-4f03-9fb4-b546f51aafe9
    objects: |
      - {objectName: plain, objectType: secret}
      - {objectName: aliased, objectType: secret, objectAlias: app/x}
      - {objectName: old, objectType: secret, objectVersionHistory: 2}
      - {objectName: cert, objectType: secret, objectEncoding: base64}
";

#[test]
fn secret_objects_name_files_of_the_class() {
    let data = |name: &str| {
        let secret = format!(
            "  secretObjects:\n  - secretName: s\n    type: Opaque\n    data:\n    - objectName: {name}\n      key: k\n"
        );
        class("c", &format!("{PARAMETERS}{secret}"))
    };
    let separate = "--write-cert-and-key-in-separate-files";
    let go = "--object-version-history=go";
    for (name, flags, expected) in [
        ("plain", &[][..], None),
        ("app/x", &[], None),
        ("old/0", &[], None),
        ("old/1", &[], None),
        ("old/2", &[go], None),
        ("plain.crt", &[separate], None),
        ("old/1.key", &[separate], None),
        ("plain.crt", &[], Some(("NO_SUCH_FILE", separate))),
        ("old/2", &[], Some(("NO_SUCH_FILE", "\"old/0\""))),
        ("old", &[], Some(("NO_SUCH_FILE", "\"old/0\""))),
        ("aliased", &[], Some(("NO_SUCH_FILE", "\"app/x\""))),
        ("plian", &[], Some(("NO_SUCH_FILE", "\"plain\""))),
        (
            "unheard-of",
            &[],
            Some(("NO_SUCH_FILE", "an entry of objects")),
        ),
        ("cert", &[], Some(("BASE64_IN_SECRET", "objectEncoding"))),
        (
            "\"\"",
            &[],
            Some(("INVALID_SECRET_OBJECT", "write objectName")),
        ),
    ] {
        let found = findings(&data(name), flags);
        let Some((reason, fix)) = expected else {
            assert!(found.is_empty(), "{name}: {found:?}");
            continue;
        };
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0]["reason"], reason);
        assert_eq!(found[0]["field"], "secretObjects[0].data[0].objectName");
        assert!(found[0]["fix"].as_str().unwrap().contains(fix), "{found:?}");
    }
}

#[test]
fn what_kubernetes_refuses_is_found() {
    let good = class("c", PARAMETERS);
    for (from, to, expected) in [
        ("kv1", "123", "8:19 error NOT_A_STRING keyvaultName"),
        (
            "tenantID: 42ddc44e-97dd-4c3b-bf8a-31c785e24c67",
            "tenantID: yes",
            "9:15 error NOT_A_STRING tenantID",
        ),
        (
            "tenantID: 42ddc44e-97dd-4c3b-bf8a-31c785e24c67",
            "tenantID: 't'\n    useVMManagedIdentity:",
            "10:25 error NOT_A_STRING useVMManagedIdentity",
        ),
        ("objects: |", "objects:", "12:7 error NOT_A_STRING objects"),
        (
            "  name: c",
            "  nam: c",
            "4:3 error INVALID_MANIFEST metadata.name",
        ),
        ("azure-rs", "", "6:3 error INVALID_MANIFEST spec.provider"),
        ("/v1\n", "/v2\n", "1:13 error INVALID_MANIFEST apiVersion"),
        (
            "/v1\n",
            "/v1alpha1\n",
            "1:13 warning INVALID_MANIFEST apiVersion",
        ),
        (
            "clientID: e502213f-1f15-4f03-9fb4-b546f51aafe9",
            "clientID: c\n    clientID: d",
            "11:5 error INVALID_MANIFEST clientID",
        ),
        (
            "  parameters:",
            "  secretObjects: {}\n  parameters:",
            "7:18 error INVALID_MANIFEST secretObjects",
        ),
        (
            "clientID: e502213f-1f15-4f03-9fb4-b546f51aafe9",
            "clientId: c",
            "7:3 warning IDENTITY_MISSING parameters",
        ),
        (
            "clientID: e502213f-1f15-4f03-9fb4-b546f51aafe9",
            "cloudName: AzureStackCloud\n    cloudEnvFileName: ../x",
            "11:23 error INVALID_PARAMETER cloudEnvFileName",
        ),
        (
            "clientID: e502213f-1f15-4f03-9fb4-b546f51aafe9",
            "cloudName: AzureStackCloud\n    cloudEnvFileName: /x",
            "11:23 note NOT_CHECKED cloudEnvFileName",
        ),
        (
            "{objectName: plain, objectType: secret}",
            "{objectName: plain, objectType: secret, objectVersionHistory: 200}",
            "11:5 warning MANY_OBJECTS objects",
        ),
    ] {
        let manifest = good.replacen(from, to, 1);
        assert_ne!(manifest, good);
        let found: Vec<_> = findings(&manifest, &[]).iter().map(short).collect();
        assert!(found.contains(&expected.to_owned()), "{to}: {found:?}");
    }
}

#[test]
fn files_folders_lists_and_standard_input_are_read() {
    let good = class("good", PARAMETERS);
    let bad = class("bad", &PARAMETERS.replace("kv1", "k"));
    let other = good.replace("azure-rs", "vault");
    let list = format!(
        "kind: List\napiVersion: v1\nitems:\n- kind: Secret\n- {}",
        bad.replace('\n', "\n  ").trim_end()
    );
    let json = r#"{"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass", "metadata": {"name": "j"},
        "spec": {"provider": "azure", "parameters": {"keyvaultName": "kv1", "tenantID": "42ddc44e-97dd-4c3b-bf8a-31c785e24c67", "clientID": "e502213f-1f15-4f03-9fb4-b546f51aafe9",
        "objects": "array:\n- |\n  objectName: a\n  objectType: x\n"}}}"#;
    let mixed = format!("kind: ConfigMap\ndata: {{}}\n---\n\n---\n{good}---\r\n{other}---\n{bad}");
    let files = [
        ("m/mixed.yaml", mixed.as_str()),
        ("m/n/list.yml", &list),
        ("m/n/class.json", json),
        ("m/n/README.md", "a: ["),
        ("m/.hidden/x.yaml", "a: ["),
        ("broken.yaml", &format!("{bad}---\na: [\n---\n{good}")),
    ];
    let (status, said) = validate(&files, &["m"]);
    assert_eq!(status, 1, "{said}");
    for words in [
        "m/mixed.yaml:27:13: note[OTHER_PROVIDER]: spec.provider: \"vault\"",
        "m/mixed.yaml:45:19: error[INVALID_PARAMETER]: keyvaultName",
        "m/n/class.json:3:20: error[INVALID_PARAMETER]: objects[0] \"a\": objectType",
        "m/n/list.yml:12:21: error[INVALID_PARAMETER]: keyvaultName",
        "\n4 classes checked: 3 errors, 0 warnings\n",
    ] {
        assert!(said.contains(words), "{said} should contain {words}");
    }
    // What comes before a problem of the YAML is checked all the same.
    let (status, said) = validate(&files, &["broken.yaml"]);
    assert_eq!(status, 1);
    for words in [
        "error[INVALID_PARAMETER]: keyvaultName",
        "error[INVALID_MANIFEST]: expected YAML or JSON, found ",
        "1 class checked: 2 errors",
    ] {
        assert!(said.contains(words), "{said} should contain {words}");
    }
    let (status, said) = through_stdin(bad.as_bytes(), &["-"]);
    assert_eq!(status, 1);
    assert!(said.starts_with("<stdin>:8:19: error"), "{said}");
    let marked = format!("\u{feff}{}", bad.replace('\n', "\r\n"));
    let (_, said) = through_stdin(marked.as_bytes(), &["-"]);
    assert!(said.starts_with("<stdin>:8:19: error"), "{said}");
}

#[test]
fn the_exit_status_tells_what_there_is() {
    let good = class("c", PARAMETERS);
    let warned = good.replace("clientID", "clientId");
    let bad = good.replace("kv1", "k");
    let files = [
        ("good.yaml", good.as_str()),
        ("warned.yaml", &warned),
        ("bad.yaml", &bad),
        ("nothing.yaml", ""),
    ];
    for (arguments, expected) in [
        (&["good.yaml"][..], 0),
        (&["nothing.yaml"], 0),
        (&["good.yaml", "warned.yaml"], 0),
        (&["--strict", "good.yaml", "warned.yaml"], 1),
        (&["good.yaml", "bad.yaml"], 1),
        (&["-o", "json", "bad.yaml"], 1),
        (&["bad.yaml", "missing.yaml"], 2),
        (&[], 2),
        (&["--unknown", "good.yaml"], 2),
        (&["-o", "xml", "good.yaml"], 2),
    ] {
        assert_eq!(validate(&files, arguments).0, expected, "{arguments:?}");
    }
    assert_eq!(through_stdin(b"\xff\xfe", &["-"]).0, 2);
    // A class without an identity is as good as its pods' nodePublishSecretRef.
    let principal = good.replace("    clientID: e502213f-1f15-4f03-9fb4-b546f51aafe9\n", "");
    let files = [("c.yaml", principal.as_str())];
    assert_eq!(validate(&files, &["--strict", "c.yaml"]).0, 1);
    let arguments = ["--strict", "--service-principal", "c.yaml"];
    assert_eq!(validate(&files, &arguments).0, 0);
}

#[test]
fn the_json_is_a_list_of_findings_with_all_members() {
    let (_, json) = validate(&[("c.yaml", BAD)], &["-o", "json", "c.yaml"]);
    let found: Vec<serde_json::Map<String, Value>> = serde_json::from_str(&json).unwrap();
    for finding in found {
        let mut names: Vec<_> = finding.keys().map(String::as_str).collect();
        names.sort_unstable();
        let members = [
            "class", "column", "field", "file", "fix", "line", "message", "reason", "severity",
            "why",
        ];
        assert_eq!(names, members);
    }
    let good = class("c", PARAMETERS);
    let (status, json) = validate(&[("c.yaml", &good)], &["-o", "json", "c.yaml"]);
    assert_eq!((status, json.as_str()), (0, "[]\n"));
}

#[test]
fn hostile_manifests_cost_little_and_are_not_passed() {
    let objects = |objects: &str| {
        let block = objects.trim_end().replace('\n', "\n      ");
        let parameters = PARAMETERS.split("      - {").next().unwrap();
        class("c", &format!("{parameters}      {block}\n"))
    };
    let mut aliases = objects(&"- {objectName: a, objectType: secret}\n".repeat(4000))
        .replace("  parameters:", "  parameters: &p");
    aliases.push_str("  others:\n");
    let mut many = format!("kind: List\nitems:\n- {}\n", aliases.replace('\n', "\n  "));
    many.push_str(
        &"- {kind: SecretProviderClass, apiVersion: secrets-store.csi.x-k8s.io/v1, metadata: {name: a}, spec: \
          {provider: azure, parameters: *p}}\n"
            .repeat(20_000),
    );
    let misspelled: Vec<_> = (0..20_000).map(|n| format!("    p{n}: x")).collect();
    let misspelled = misspelled.join("\n");
    for (name, text) in [
        ("deep", objects(&"[".repeat(100_000))),
        ("deep outside", "[".repeat(1_000_000)),
        ("flow", format!("a: {}", "{a: ".repeat(100_000))),
        (
            "wide",
            objects(&"- {objectName: a/b, objectType: x}\n".repeat(10_000)),
        ),
        ("long", objects(&format!("- {}", "a".repeat(1_500_000)))),
        ("huge", "a".repeat(17 * 1024 * 1024)),
        ("many classes", many),
        (
            "many findings",
            format!(
                "{}{misspelled}\n    keyvaultName: a\n",
                class("c", "  parameters:\n")
            ),
        ),
        (
            "many documents",
            format!("---\n{}", class("c", "  parameters:\n    a: 1\n")).repeat(20_000),
        ),
        (
            "escapes",
            class(
                "\"\u{9b}2J\\e[2J\"",
                "  parameters:\n    \"\\e[31m\\u202e\": x\n",
            ),
        ),
    ] {
        let start = Instant::now();
        let (status, said) = through_stdin(text.as_bytes(), &["-"]);
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{name} took {:?}",
            start.elapsed()
        );
        assert!(matches!(status, 1 | 2), "{name}: {status}");
        assert!(said.len() < 2_000_000, "{name}: {}", said.len());
        assert!(
            said.chars()
                .all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')),
            "{name}"
        );
    }
}

#[test]
fn the_committed_schema_is_what_the_binary_prints() {
    let (status, printed) = ended(command(&["--print-schema"]).output().unwrap());
    assert_eq!(status, 0);
    let path = Path::new(ROOT).join("docs/secretproviderclass.schema.json");
    assert!(
        fs::read_to_string(path).unwrap_or_default() == printed,
        "docs/secretproviderclass.schema.json has drifted from the code: run `make generate` and commit the result"
    );
    let schema: Value = serde_json::from_str(&printed).unwrap();
    let parameters = &schema["properties"]["spec"]["properties"]["parameters"]["properties"];
    assert_eq!(parameters["keyvaultName"]["type"], "string");
    assert!(schema["$defs"]["object"]["properties"]["objectAlias"].is_object());
}
