import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type Answer,
  createProber,
  type FeatureReport,
  probeFeatures,
} from "../../../src/kernel/features/index.ts";
import { kernelBefore } from "../../../src/kernel/privileges.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { openFds } from "../../support/fd-leak.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet, type TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";

const config = readConfig();

function readConfig(): ReadonlySet<string> | undefined {
  if (!existsSync("/proc/config.gz")) return undefined;
  const text = gunzipSync(readFileSync("/proc/config.gz")).toString();
  return new Set([...text.matchAll(/^CONFIG_(\w+)=[ym]$/gm)].map(([, name]) => name ?? ""));
}

/** All answers but the helpers', by `group.name`. */
function flat(report: FeatureReport): Readonly<Record<string, Answer>> {
  const { kernel: _, ...groups } = report;
  return Object.fromEntries(
    Object.entries(groups).flatMap(([group, answers]) =>
      Object.entries(answers as Readonly<Record<string, Answer>>).map(([name, answer]) => [
        `${group}.${name}`,
        answer,
      ]),
    ),
  );
}

/** What a kernel of the right version lacks without this option, as the kernel's Kconfig and Makefiles have it. */
const OPTIONS: readonly (readonly [feature: RegExp, option: string])[] = [
  [/netkit/, "NETKIT"],
  [/lirc_mode2/, "BPF_LIRC_MODE2"],
  [/^abilities\.kprobes$/, "KPROBE_EVENTS"],
  [/kprobe_(multi|session)/, "FPROBE"],
  [/uprobe/, "UPROBE_EVENTS"],
  [/netfilter/, "NETFILTER_BPF_LINK"],
  [/xskmap/, "XDP_SOCKETS"],
  [/tcx/, "NET_XGRESS"],
  [/lsm/, "BPF_LSM"],
  [/cgroup|cgrp/, "CGROUP_BPF"],
  [/lwt_seg6local/, "IPV6_SEG6_BPF"],
  [/lwt_/, "LWTUNNEL_BPF"],
  [/kernel_btf/, "DEBUG_INFO_BTF"],
];

describeKernel("the prober", () => {
  // The loopback interface is asked about XDP links: let it be that of a namespace of our own.
  let net: TestNet;
  beforeAll(async () => {
    net = await createTestNet();
  });
  afterAll(() => net[Symbol.asyncDispose]());
  const probeAll = (): FeatureReport => inNetns(net.inside.path, () => probeFeatures());

  test("agrees with the kernel's version and configuration", () => {
    const answers = Object.entries(flat(probeAll()));
    expect(answers.length).toBeGreaterThan(200);

    const wrong = answers.filter(([name, { answer, since }]) => {
      if (answer === "unknown") return false;
      const [major = 0, minor = 0] = since.split(".").map(Number);
      if (kernelBefore(major, minor)) return answer === "yes"; // distributions backport; this would show it
      const lacking = OPTIONS.some(
        ([feature, option]) => feature.test(name) && config?.has(option) === false,
      );
      return (answer === "no") !== lacking && !(config === undefined && answer === "no");
    });
    expect(
      wrong.map(([name, { answer, since, reason }]) => `${name} (${since}): ${answer} ${reason}`),
    ).toEqual([]);
  });

  test("does not know only what is refused in spite of all permissions", () => {
    const unknown = Object.entries(flat(probeAll())).filter(([, { answer }]) => answer === "unknown");
    for (const [name, { reason }] of unknown) {
      expect(name).toMatch(/lsm|ext|fentry|fexit|modify_return|trampolines/);
      expect(reason).toMatch(/says EPERM .*It is not bpf\(2\) as a whole: a plain socket filter is taken\.$/);
    }
  });

  test("closes what it opens", () => {
    probeAll();
    const before = openFds();
    probeAll();
    expect(openFds()).toEqual(before);
  });

  test("asks once", () => {
    let calls = 0;
    const real = linuxSyscalls();
    const prober = createProber({
      ...real,
      bpf(cmd, attr) {
        calls++;
        return real.bpf(cmd, attr);
      },
    });
    const first = prober.haveHelper("xdp", "bpf_redirect_map");
    expect(first).toEqual({ answer: "yes", since: "4.14" });
    const spent = calls;
    expect(prober.haveHelper("xdp", "bpf_redirect_map")).toBe(first);
    expect(calls).toBe(spent);
    expect(prober.haveHelper("xdp", "bpf_skb_load_bytes")).toEqual({ answer: "no", since: "4.5" });
  });

  test("names the kernel", () => {
    expect(probeFeatures(undefined, [])).toEqual({ kernel: release() });
  });
});
