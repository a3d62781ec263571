// SPDX-License-Identifier: MIT
// The button appears when every image that the manifest names has the hash that the manifest says.
const show = (id, text) => Object.assign(document.getElementById(id), { hidden: false, textContent: text });

async function sha256(url) {
  const response = await fetch(url, { cache: "no-store" });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const data = await response.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return { bytes: data.byteLength, hash: Array.from(digest, (value) => value.toString(16).padStart(2, "0")).join("") };
}

async function check() {
  const manifest = await (await fetch("manifest.json", { cache: "no-store" })).json();
  show("name", `${manifest.name} ${manifest.version}`);
  for (const build of manifest.builds) {
    const { path, sha256: expected } = build.parts[0];
    const found = await sha256(path);
    if (found.hash !== expected) throw new Error(`${path}: its SHA-256 is ${found.hash}, not ${expected}: do not flash it`);
    const row = document.getElementById("images").insertRow();
    row.insertCell().textContent = build.chipFamily;
    row.insertCell().textContent = found.bytes.toLocaleString("en");
    row.insertCell().append(Object.assign(document.createElement("code"), { textContent: found.hash }));
  }
  show("state", "The images are whole.");
  document.getElementById("install").hidden = false;
}

check().catch((error) => {
  document.getElementById("state").hidden = true;
  show("trouble", error.message);
});
