//! The story: what happened when the example was deployed to a real cluster, told again against the
//! emulated Azure. Every step claims what it shows, and the first claim that does not hold ends it.

use crate::azure::{CLIENT_ID, OBJECT_ID, SECRET, SetPolicy, VAULT};
use crate::failure::Result;
use crate::node::{Node, Said, Volume};
use crate::screen::Screen;

/// The class as it is deployed for the Go provider.
const DEPLOYED_CLASS: &str = include_str!("../../../examples/openai/secretproviderclass.yaml");

// What is shown is what is run, in the workspace's root.

const READ_CLASS: &str = "cat examples/openai/secretproviderclass-azure-rs.yaml";
/// Without the health check over HTTP and the metrics, whose ports may be taken here.
const SERVE: &str = "provider-azure-rs serve --endpoint unix://$DEMO/azure-rs.sock \
    --healthz-port 0 --prometheus-port 0";
const MOUNT: &str = "provider-azure-rs mount examples/openai/secretproviderclass-azure-rs.yaml \
    --endpoint unix://$DEMO/azure-rs.sock --target $DEMO/volume";
const LIST: &str = "ls -la $DEMO/volume";
const SUM: &str = "sha256sum $DEMO/volume/OPENAI-API-KEY";

/// Tells it, up to the end that [`leave_nothing`] tells.
pub async fn tell(node: &mut Node, screen: &mut Screen) -> Result {
    screen.note(
        "A SecretProviderClass from production, mounted from an emulated Azure by the real provider. All \
         of it runs on this machine, as you, on loopback; all that is written goes into one folder, \
         which is removed at the end:",
    );
    screen.line(&format!("DEMO={}", node.folder().display()));

    screen.step("An Azure: a vault with a secret, and a node with an identity that may read it");
    screen.output(&format!(
        "vault     {VAULT}\n\
         secret    {SECRET}, version {}\n\
         {:9} sha256 {}\n\
         identity  client {CLIENT_ID}, assigned to this node\n\
         policy    object {OBJECT_ID} (the same identity): get, list",
        node.azure.version, "", node.azure.digest
    ));
    screen.explain("Below, what `az` would do in Azure is done in this one.");

    screen.step("The provider, as it runs on every node");
    screen
        .explain("A proxy and a CA make it take the emulator for Azure; it has no mode for tests.");
    let variables = node.azure.variables();
    let variables = variables.map(|(name, value)| format!("{name}={value}"));
    screen.command(&format!("export {}", variables.join(" ")));
    serve(node, screen).await?;

    mount(node, screen).await?;
    rotate(node, screen).await?;
    deny_access(node, screen).await?;
    take_identity_away(node, screen).await?;

    let shown = node.azure.has_value_in(&screen.transcript) || node.azure.has_value_in(&node.log());
    let claim = "in all of this, and in the provider's log, no value of the secret was shown";
    screen.check(claim, !shown, "digests only", "a value of the secret")
}

/// Ends the provider and removes the folder.
pub async fn leave_nothing(mut node: Node, screen: &mut Screen) -> Result {
    screen.step("Leaving nothing behind");
    let folder = node.folder().to_owned();
    stop_provider(&mut node, screen).await?;
    node.close().await?;
    screen.check("$DEMO is gone", !folder.exists(), "no folder", "a folder")
}

async fn mount(node: &mut Node, screen: &mut Screen) -> Result {
    screen.step("Mounting the class");
    let class = run(node, screen, READ_CLASS).await?.output;
    screen.equal(
        "it is the class that was deployed for the Go provider, but for `provider: azure`",
        &DEPLOYED_CLASS.replace("provider: azure\n", "provider: azure-rs\n"),
        &class,
    )?;
    mount_well(node, screen, "written").await?;

    let found = show_volume(node, screen).await?;
    let link = format!("..data/{SECRET}");
    screen.equal(
        "the app opens a link through ..data, as from the driver",
        &link,
        &found.link,
    )?;
    screen.equal(
        "the file's mode is the driver's default",
        "0644",
        &found.mode,
    )?;
    screen.equal(
        "the file holds the vault's value, by digest",
        &node.azure.digest,
        &found.digest,
    )
}

async fn rotate(node: &mut Node, screen: &mut Screen) -> Result {
    screen.step("Rotating the secret");
    screen.explain(
        "Somebody gives it a new value in Key Vault; the driver mounts again, as it does every two \
         minutes.",
    );
    let (old, old_version) = (node.volume()?, node.azure.version.clone());
    screen.command(&format!(
        "az keyvault secret set --vault-name {VAULT} --name {SECRET} --value ..."
    ));
    node.azure.put_secret()?;
    mount_well(node, screen, "updated").await?;
    let new = show_volume(node, screen).await?;
    let new_version = &node.azure.version;
    screen.output(&format!(
        "\n         before                             after\n\
         ..data   {:<33}  {}\n\
         version  {old_version:<33}  {new_version}\n\
         sha256   {:<33}  {:.16}...",
        old.data,
        new.data,
        format!("{:.16}...", old.digest),
        new.digest,
    ));
    screen.differ("the version is another", &old_version, new_version)?;
    let claim = "..data points to another folder: all files change at one moment";
    screen.differ(claim, &old.data, &new.data)?;
    let old_folder = node.folder().join("volume").join(&old.data);
    screen.check(
        "the old folder is gone",
        !old_folder.exists(),
        "no folder",
        &old.data,
    )?;
    screen.differ("the file holds another value", &old.digest, &new.digest)?;
    screen.equal(
        "which is the vault's new value, by digest",
        &node.azure.digest,
        &new.digest,
    )
}

async fn deny_access(node: &mut Node, screen: &mut Screen) -> Result {
    screen.step("What a user sees: 403, the access policy is missing");
    screen.command(&format!(
        "az keyvault delete-policy --name {VAULT} --object-id {OBJECT_ID}"
    ));
    node.azure.vault.revoke(OBJECT_ID);
    let complaint = mount_in_vain(node, screen, "PermissionDenied", "KV_ACCESS_DENIED").await?;

    screen.explain("The fix that it names, to the letter, and the same mount again:");
    let claim = "the fix is `az keyvault set-policy`";
    let Some((command, fix)) = SetPolicy::in_message(&complaint) else {
        return screen.check(claim, false, "az keyvault set-policy", &complaint);
    };
    screen.long_command(command);
    screen.equal("the fix names the vault", VAULT, &fix.name)?;
    screen.equal("and the identity's object ID", OBJECT_ID, &fix.object_id)?;
    node.azure.set_policy(&fix);
    mount_well(node, screen, "unchanged").await
}

async fn take_identity_away(node: &mut Node, screen: &mut Screen) -> Result {
    screen.step("What a user sees: the identity isn't assigned to this node");
    screen.explain(
        "A provider that runs has a token for hours, so this shows on a node that is new:",
    );
    screen.command("kill %1; wait");
    stop_provider(node, screen).await?;
    screen.command("az vmss identity remove --identities ...");
    node.azure.emulator.imds().unassign(CLIENT_ID);
    serve(node, screen).await?;
    let complaint =
        mount_in_vain(node, screen, "FailedPrecondition", "IDENTITY_NOT_ASSIGNED").await?;
    let claim = "the fix names the class's parameter and `az vmss identity assign`";
    let words = [
        "userAssignedIdentityID",
        "az vmss identity assign",
        CLIENT_ID,
    ];
    let named = words.iter().all(|word| complaint.contains(word));
    screen.check(claim, named, &words.join(", "), &complaint)?;

    screen.explain("With the identity assigned, and the same mount again:");
    screen.command("az vmss identity assign --identities ...");
    node.azure.assign_identity();
    mount_well(node, screen, "unchanged").await
}

/// Runs a command line, and shows it and what it says.
async fn run(node: &mut Node, screen: &mut Screen, line: &str) -> Result<Said> {
    screen.command(line);
    let said = node.run(line).await?;
    screen.output(&said.output);
    screen.complaint(&said.complaint);
    Ok(said)
}

async fn serve(node: &mut Node, screen: &mut Screen) -> Result {
    screen.command(&format!("{SERVE} &"));
    let milliseconds = node.start_provider(SERVE).await?.as_millis();
    screen.tick(&format!("it listens after {milliseconds} ms"));
    Ok(())
}

async fn stop_provider(node: &mut Node, screen: &mut Screen) -> Result {
    let status = node.stop_provider().await?;
    let found = status.map_or("no provider".to_owned(), |status| status.to_string());
    screen.equal(
        "the provider ends by itself on SIGTERM",
        "exit status: 0",
        &found,
    )
}

/// Mounts, and claims that it goes well: the newest version came, and the volume was `outcome`.
async fn mount_well(node: &mut Node, screen: &mut Screen, outcome: &str) -> Result {
    let said = run(node, screen, MOUNT).await?;
    let last = said.output.lines().last().unwrap_or_default();
    screen.equal(
        &format!("the mount succeeds: {outcome}"),
        &format!("exit status: 0, {outcome}"),
        &format!("{}, {last}", said.status),
    )?;
    let newest = said.output.contains(&node.azure.version);
    screen.check(
        "with the vault's newest version",
        newest,
        &node.azure.version,
        &said.output,
    )
}

/// Mounts, and claims that it fails this way and leaves the volume alone. Gives the message.
async fn mount_in_vain(
    node: &mut Node,
    screen: &mut Screen,
    code: &str,
    reason: &str,
) -> Result<String> {
    let before = node.volume()?;
    let said = run(node, screen, MOUNT).await?;
    screen.check(
        &format!("the mount fails with {code}, {reason}"),
        said.status.code() == Some(1) && said.complaint.contains(&format!("{code}: [{reason}] ")),
        &format!("exit status: 1, {code}: [{reason}] ..."),
        &format!("{}, {}", said.status, said.complaint.trim()),
    )?;
    screen.equal(
        "the files in the volume are as they were",
        &format!("{before:?}"),
        &format!("{:?}", node.volume()?),
    )?;
    Ok(said.complaint)
}

/// Shows what an app sees. Gives the digest that `sha256sum` finds.
async fn show_volume(node: &mut Node, screen: &mut Screen) -> Result<Volume> {
    run(node, screen, LIST).await?;
    let sum = run(node, screen, SUM).await?.output;
    let mut volume = node.volume()?;
    let digest = sum.split(' ').next().unwrap_or_default();
    digest.clone_into(&mut volume.digest);
    Ok(volume)
}
