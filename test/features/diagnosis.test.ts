import { describe, expect, test } from "vitest";
import { capabilitiesToCreate, capabilitiesToLoad } from "../../src/kernel/needed-capabilities.ts";
import { type Capability, diagnosePermission, type PermissionFacts } from "../../src/kernel/privileges.ts";

const ALL: readonly Capability[] = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_ADMIN"];

const root: PermissionFacts = {
  held: new Set(ALL),
  userNamespace: false,
  unprivilegedBpfDisabled: 2,
  lockdown: "none",
  seccomp: 0,
  lsms: ["lockdown", "capability", "bpf"],
  release: "6.18.44",
};

const holding = (...held: readonly Capability[]): PermissionFacts => ({ ...root, held: new Set(held) });

describe("what a type takes", () => {
  test.each([
    ["socket_filter", ["CAP_BPF"]],
    ["sk_lookup", ["CAP_BPF"]],
    ["syscall", ["CAP_BPF"]],
    ["xdp", ["CAP_BPF", "CAP_NET_ADMIN"]],
    ["sched_cls", ["CAP_BPF", "CAP_NET_ADMIN"]],
    ["kprobe", ["CAP_BPF", "CAP_PERFMON"]],
    ["ext", ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]],
  ] as const)("program %s", (type, needed) => {
    expect(capabilitiesToLoad(type)).toEqual(needed);
  });

  test("maps", () => {
    expect(capabilitiesToCreate("cpumap")).toEqual(["CAP_BPF"]);
    expect(capabilitiesToCreate("xskmap")).toEqual(["CAP_BPF", "CAP_NET_ADMIN"]);
  });
});

describe("the diagnosis", () => {
  test.each<[string, readonly Capability[], PermissionFacts, string, readonly string[], RegExp]>([
    [
      "names all that is missing",
      ["CAP_BPF", "CAP_NET_ADMIN"],
      holding("CAP_PERFMON"),
      "capability",
      ["CAP_BPF", "CAP_NET_ADMIN"],
      /^This process lacks CAP_BPF and CAP_NET_ADMIN: run it as root, or grant the capabilities\. \(kernel\.unprivileged_bpf_disabled is 2: /,
    ],
    [
      "does not mention the setting where it has no part in it",
      ["CAP_BPF", "CAP_NET_ADMIN"],
      holding("CAP_BPF"),
      "capability",
      ["CAP_NET_ADMIN"],
      /^This process lacks CAP_NET_ADMIN: run it as root, or grant the capability\.$/,
    ],
    [
      "nor where any user may",
      ["CAP_BPF"],
      { ...holding(), unprivilegedBpfDisabled: 0 },
      "capability",
      ["CAP_BPF"],
      /grant the capability\.$/,
    ],
    [
      "asks for CAP_SYS_ADMIN before 5.8",
      ["CAP_BPF", "CAP_PERFMON"],
      { ...holding("CAP_NET_ADMIN"), release: "5.4.0-42-generic" },
      "capability",
      ["CAP_SYS_ADMIN"],
      /lacks CAP_SYS_ADMIN: run it as root/,
    ],
    [
      "CAP_SYS_ADMIN stands for the others, and before 5.11 memory remains",
      ["CAP_BPF"],
      { ...holding("CAP_SYS_ADMIN"), release: "5.10.0" },
      "memlock",
      [],
      /RLIMIT_MEMLOCK.*ulimit -l unlimited/,
    ],
    [
      "a lack comes before memory",
      ["CAP_BPF", "CAP_NET_ADMIN"],
      { ...holding("CAP_BPF"), release: "5.10.0" },
      "capability",
      ["CAP_NET_ADMIN"],
      /lacks CAP_NET_ADMIN/,
    ],
    [
      "a user namespace comes first",
      ["CAP_BPF"],
      { ...root, userNamespace: true },
      "user namespace",
      [],
      /^This process is in a user namespace, whose root has no power over BPF/,
    ],
    [
      "seccomp",
      ["CAP_BPF"],
      { ...root, seccomp: 2 },
      "seccomp",
      [],
      /^This process holds CAP_BPF, and a seccomp filter is in force \(Seccomp: 2 /,
    ],
    [
      "lockdown",
      ["CAP_BPF", "CAP_PERFMON"],
      { ...root, lockdown: "confidentiality" },
      "lockdown",
      [],
      /^The kernel is locked down \(confidentiality\)/,
    ],
    [
      "says what is known where nothing explains it",
      ["CAP_BPF", "CAP_PERFMON"],
      { ...root, lockdown: "integrity" },
      "unexplained",
      [],
      /^This process holds CAP_BPF and CAP_PERFMON, is in no user namespace and has no seccomp filter; the security modules lockdown, capability, bpf are active, with lockdown at integrity\. What remains is a security module/,
    ],
    [
      "and what is not",
      ["CAP_BPF"],
      { ...root, lockdown: undefined, lsms: undefined },
      "unexplained",
      [],
      /which security modules are active cannot be seen \(securityfs is not mounted\)/,
    ],
  ])("%s", (_name, needed, facts, cause, missing, text) => {
    expect(diagnosePermission(needed, facts)).toEqual({ cause, missing, text: expect.stringMatching(text) });
  });
});
