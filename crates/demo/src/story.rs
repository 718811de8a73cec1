//! The story: what happened when the example was deployed to a real cluster, told again against the
//! emulated Azure. Every step claims what it shows, and the first claim that does not hold ends it.

use std::fs;
use std::path::Path;

use crate::azure::{Azure, CLIENT_ID, OBJECT_ID, SECRET, VAULT};
use crate::failure::{Failure, cannot};
use crate::node::{CLASS, DEPLOYED_CLASS, Node};
use crate::screen::Screen;
use crate::set_policy::SetPolicy;
use crate::volume::{Contents, Volume};

/// Tells it, up to the end that [`leave_nothing`] tells.
pub async fn tell(node: &mut Node, screen: &mut Screen) -> Result<(), Failure> {
    screen.note(
        "A SecretProviderClass from production, mounted from an emulated Azure by the real provider. All \
         of it runs on this machine, as you, on loopback; all that is written goes into one folder, \
         which is removed at the end:",
    );
    screen.verbatim(&format!("DEMO={}", node.folder().display()));

    let mut azure = start_azure(screen).await?;
    node.connect(&azure)?;
    start_provider(node, screen).await?;
    mount(node, &azure, screen).await?;
    rotate(node, &mut azure, screen).await?;
    deny_access(node, &azure, screen).await?;
    take_identity_away(node, &azure, screen).await?;

    let said = [screen.transcript(), &node.log()].concat();
    screen.check(
        "in all of this, and in the provider's log, no value of the secret was shown",
        !azure.has_value_in(&said),
        &"digests only",
        &"a value of the secret",
    )
}

/// Ends the provider and removes the folder.
pub async fn leave_nothing(mut node: Node, screen: &mut Screen) -> Result<(), Failure> {
    screen.step("Leaving nothing behind");
    let folder = node.folder().to_owned();
    stop_provider(&mut node, screen).await?;
    node.close().await?;
    screen.check("$DEMO is gone", !folder.exists(), &"no folder", &"a folder")
}

async fn start_azure(screen: &mut Screen) -> Result<Azure, Failure> {
    screen.step("An Azure: a vault with a secret, and a node with an identity that may read it");
    let azure = Azure::start().await?;
    let (version, digest) = (azure.version(), azure.digest()?);
    screen.output(&format!(
        "vault     {VAULT}\n\
         secret    {SECRET}, version {version}\n\
         {:9} sha256 {digest}\n\
         identity  client {CLIENT_ID}, assigned to this node\n\
         policy    object {OBJECT_ID} (the same identity): get, list",
        ""
    ));
    screen.explain("Below, what `az` would do in Azure is done in this one.");
    Ok(azure)
}

async fn start_provider(node: &mut Node, screen: &mut Screen) -> Result<(), Failure> {
    screen.step("The provider, as it runs on every node");
    screen
        .explain("A proxy and a CA make it take the emulator for Azure; it has no mode for tests.");
    screen.command(&node.export_line());
    serve(node, screen).await
}

async fn mount(node: &mut Node, azure: &Azure, screen: &mut Screen) -> Result<(), Failure> {
    screen.step("Mounting the class");
    screen.command(&format!("cat {CLASS}"));
    let class = read(CLASS)?;
    screen.output(&class);
    let deployed = read(DEPLOYED_CLASS)?;
    screen.check_equal(
        "it is the class that was deployed for the Go provider, but for `provider: azure`",
        &deployed.replace("provider: azure\n", "provider: azure-rs\n"),
        &class,
    )?;
    mount_well(node, azure, screen, "written").await?;

    let volume = node.volume();
    let found = show(&volume, screen)?;
    screen.check_equal(
        "the app opens a link through ..data, as from the driver",
        &format!("..data/{SECRET}"),
        &found.link,
    )?;
    screen.check_equal(
        "the file's mode is the driver's default",
        &"0644".to_owned(),
        &found.mode,
    )?;
    screen.check_equal(
        "the file holds the vault's value, by digest",
        &azure.digest()?,
        &found.digest,
    )
}

async fn rotate(node: &mut Node, azure: &mut Azure, screen: &mut Screen) -> Result<(), Failure> {
    screen.step("Rotating the secret");
    screen.explain(
        "Somebody gives it a new value in Key Vault; the driver mounts again, as it does every two \
         minutes.",
    );
    let (volume, old_version) = (node.volume(), azure.version());
    let old = volume.contents()?;
    screen.command(&format!(
        "az keyvault secret set --vault-name {VAULT} --name {SECRET} --value ..."
    ));
    let new_version = azure.put_secret()?;
    mount_well(node, azure, screen, "updated").await?;
    let new = show(&volume, screen)?;
    screen.output(&format!(
        "\n         before                             after\n\
         ..data   {:<33}  {}\n\
         version  {old_version:<33}  {new_version}\n\
         sha256   {:<33}  {}",
        old.data,
        new.data,
        start_of(&old.digest),
        start_of(&new.digest),
    ));
    screen.check_differ("the version is another", &old_version, &new_version)?;
    screen.check_differ(
        "..data points to another folder: all files change at one moment",
        &old.data,
        &new.data,
    )?;
    screen.check(
        "the old folder is gone",
        !volume.path().join(&old.data).exists(),
        &"no folder",
        &old.data,
    )?;
    screen.check_differ("the file holds another value", &old.digest, &new.digest)?;
    screen.check_equal(
        "which is the vault's new value, by digest",
        &azure.digest()?,
        &new.digest,
    )
}

async fn deny_access(node: &mut Node, azure: &Azure, screen: &mut Screen) -> Result<(), Failure> {
    screen.step("What a user sees: 403, the access policy is missing");
    screen.command(&format!(
        "az keyvault delete-policy --name {VAULT} --object-id {OBJECT_ID}"
    ));
    azure.delete_policy();
    let complaint = mount_in_vain(node, screen, "PermissionDenied", "KV_ACCESS_DENIED").await?;

    screen.explain("The fix that it names, to the letter, and the same mount again:");
    let Some(fix) = SetPolicy::in_message(&complaint) else {
        return screen.check(
            "the fix is `az keyvault set-policy`",
            false,
            &"az keyvault set-policy",
            &complaint,
        );
    };
    screen.long_command(&fix.command);
    screen.check_equal("the fix names the vault", &VAULT.to_owned(), &fix.vault)?;
    screen.check_equal(
        "and the identity's object ID",
        &OBJECT_ID.to_owned(),
        &fix.object_id,
    )?;
    azure.set_policy(&fix);
    mount_well(node, azure, screen, "unchanged").await
}

async fn take_identity_away(
    node: &mut Node,
    azure: &Azure,
    screen: &mut Screen,
) -> Result<(), Failure> {
    screen.step("What a user sees: the identity isn't assigned to this node");
    screen.explain(
        "A provider that runs has a token for hours, so this shows on a node that is new:",
    );
    screen.command("kill %1; wait");
    stop_provider(node, screen).await?;
    screen.command("az vmss identity remove --identities ...");
    azure.remove_identity();
    serve(node, screen).await?;
    let complaint =
        mount_in_vain(node, screen, "FailedPrecondition", "IDENTITY_NOT_ASSIGNED").await?;
    let parts = [
        "userAssignedIdentityID",
        "az vmss identity assign",
        CLIENT_ID,
    ];
    screen.check_contains(
        "the fix names the class's parameter and `az vmss identity assign`",
        &complaint,
        &parts,
    )?;

    screen.explain("With the identity assigned, and the same mount again:");
    screen.command("az vmss identity assign --identities ...");
    azure.assign_identity();
    mount_well(node, azure, screen, "unchanged").await
}

/// Starts the provider.
async fn serve(node: &mut Node, screen: &mut Screen) -> Result<(), Failure> {
    screen.command(&node.serve_line());
    let milliseconds = node.start_provider().await?.as_millis();
    screen.tick(&format!("it listens after {milliseconds} ms"));
    Ok(())
}

/// Mounts, and claims that it goes well: the newest version came, and the volume was `outcome`.
async fn mount_well(
    node: &mut Node,
    azure: &Azure,
    screen: &mut Screen,
    outcome: &str,
) -> Result<(), Failure> {
    screen.command(&node.mount_line());
    let said = node.mount().await?;
    screen.output(&said.output);
    screen.complaint(&said.complaint);
    let last = said.output.lines().last().unwrap_or_default();
    screen.check_equal(
        &format!("the mount succeeds: {outcome}"),
        &format!("exit status: 0, {outcome}"),
        &format!("{}, {last}", said.status),
    )?;
    let version = azure.version();
    screen.check_contains("with the vault's newest version", &said.output, &[&version])
}

/// Mounts, and claims that it fails this way and leaves the volume alone. Gives the message.
async fn mount_in_vain(
    node: &mut Node,
    screen: &mut Screen,
    code: &str,
    reason: &str,
) -> Result<String, Failure> {
    let volume = node.volume();
    let before = volume.contents()?;
    screen.command(&node.mount_line());
    let said = node.mount().await?;
    screen.output(&said.output);
    screen.complaint(&said.complaint);
    screen.check(
        &format!("the mount fails with {code}, {reason}"),
        said.status.code() == Some(1) && said.complaint.contains(&format!("{code}: [{reason}] ")),
        &format!("exit status: 1, {code}: [{reason}] ..."),
        &format!("{}, {}", said.status, said.complaint.trim()),
    )?;
    screen.check_equal(
        "the files in the volume are as they were",
        &before,
        &volume.contents()?,
    )?;
    Ok(said.complaint)
}

async fn stop_provider(node: &mut Node, screen: &mut Screen) -> Result<(), Failure> {
    let status = node.stop_provider().await?;
    let found = status.map_or("no provider".to_owned(), |status| status.to_string());
    screen.check_equal(
        "the provider ends by itself on SIGTERM",
        &"exit status: 0".to_owned(),
        &found,
    )
}

/// Shows what an app sees.
fn show(volume: &Volume, screen: &mut Screen) -> Result<Contents, Failure> {
    screen.command(&format!("ls -la {}", volume.path().display()));
    screen.output(&volume.list()?);
    let contents = volume.contents()?;
    let file = volume.file();
    screen.command(&format!("sha256sum {}", file.display()));
    screen.output(&format!("{}  {}", contents.digest, file.display()));
    Ok(contents)
}

/// A file of the workspace.
fn read(path: &str) -> Result<String, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).map_err(cannot(format!("read {path}")))
}

fn start_of(digest: &str) -> String {
    format!("{}...", digest.get(..16).unwrap_or(digest))
}
