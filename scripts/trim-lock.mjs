// Makes package-lock.json installable with `npm ci` from any registry: run it after every `npm install`.
//
// Packages with native parts name one optional dependency per platform. npm leaves those out of the lock file that
// the registry in use did not offer, but keeps their names in `optionalDependencies`; `npm ci` then takes the lock file
// for incomplete and refuses it ("Missing: ... from lock file"), on every machine. This drops the dangling names.
import { readFileSync, writeFileSync } from "node:fs";

const path = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(path, "utf8"));
const dropped = [];
for (const [location, entry] of Object.entries(lock.packages)) {
  for (const name of Object.keys(entry.optionalDependencies ?? {})) {
    if (isLocked(location, name)) continue;
    delete entry.optionalDependencies[name];
    dropped.push(name);
  }
}
if (dropped.length > 0) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`package-lock.json: ${dropped.length} dangling names dropped ${dropped.join(" ")}\n`);

/** Whether the entry at `location` finds `name` the way Node.js would: beside it, or in any folder above. */
function isLocked(location, name) {
  for (let base = location; ; base = base.slice(0, Math.max(0, base.lastIndexOf("/node_modules/")))) {
    if (lock.packages[`${base === "" ? "" : `${base}/`}node_modules/${name}`] !== undefined) return true;
    if (base === "") return false;
  }
}
