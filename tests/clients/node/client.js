// Calls a provider's socket as a Node.js program does, whose HTTP/2 is nghttp2: client.js CASES PROTO SOCKET...
//
// CASES is what cases.py writes, PROTO the driver's service.proto.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const util = require("node:util");
const grpc = require("@grpc/grpc-js");
const { version } = require("@grpc/grpc-js/package.json");
const loader = require("@grpc/proto-loader");

const [casesFile, proto, ...sockets] = process.argv.slice(2);
const cases = JSON.parse(fs.readFileSync(casesFile, "utf8"));
const { CSIDriverProvider } = grpc.loadPackageDefinition(loader.loadSync(proto)).v1alpha1;

// This client says "localhost" of a socket, unless it is told what to say.
const spellings = [
  ["unix:", () => ({})],
  ["the path as authority", (socket) => ({ "grpc.default_authority": socket })],
  ["the path as authority, percent-encoded", (socket) => ({ "grpc.default_authority": encodeURIComponent(socket) })],
];

// All calls on one connection, the mounts of a round at once.
async function check(socket, options) {
  const client = new CSIDriverProvider(`unix:${socket}`, grpc.credentials.createInsecure(), options);
  const call = (name, request) =>
    util.promisify(client[name].bind(client))(request, new grpc.Metadata(), { deadline: Date.now() + 60_000 });
  try {
    const answer = await call("Version", { version: "v1alpha1" });
    assert.strictEqual(answer.runtimeName, "provider-azure-rs");
    for (let round = 0; round < cases.rounds; round++) {
      await Promise.all(cases.mounts.map((mount) => checkMount(call, mount)));
    }
  } finally {
    client.close();
  }
}

async function checkMount(call, mount) {
  const { attributes, secrets, permission } = mount;
  const request = { attributes, secrets, permission, targetPath: "/var/lib/kubelet/pods/0b1c2d3e/mount" };
  if (mount.code) {
    const error = await call("Mount", request).then(() => assert.fail("mounted"), (refused) => refused);
    assert.strictEqual(grpc.status[error.code], mount.code, error.message);
    assert.ok(error.details.startsWith(mount.message), error.details);
    return;
  }
  const answer = await call("Mount", request);
  assert.deepStrictEqual(Object.fromEntries(answer.files.map((file) => [file.path, String(file.contents)])), mount.files);
  assert.ok(answer.objectVersion.length > 0);
}

(async () => {
  for (const socket of sockets) {
    for (const [name, options] of spellings) {
      const what = `grpc-js ${version}, ${name}, ${JSON.stringify(socket)}`;
      try {
        await check(socket, options(socket));
        console.log(`ok     ${what}`);
      } catch (error) {
        process.exitCode = 1;
        console.log(`FAILED ${what}: ${error.message}`);
      }
    }
  }
})();
