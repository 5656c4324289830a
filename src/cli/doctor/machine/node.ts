import type { Finding } from "../finding.ts";

/** Oldest Node.js that tsbpf runs on (`engines` in package.json). */
const OLDEST: readonly [number, number] = [20, 19];

/** Judges the Node.js that runs this. @param version - `20.19.1`; @param platform - `linux-x64`. */
export function checkNode(version: string, platform: string): readonly Finding[] {
  const check = "node";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [oldestMajor, oldestMinor] = OLDEST;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) {
    return [{ level: "ok", check, what: `Node.js ${version} on ${platform}` }];
  }
  return [
    {
      level: "fail",
      check,
      what: `Node.js ${version} is too old`,
      fix: `tsbpf needs ${OLDEST.join(".")} or newer.`,
    },
  ];
}
