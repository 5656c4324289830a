import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createTestNet, type ExecResult, type TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { interrupt, startExample } from "./harness.ts";

/** Where cgroup version 2 is mounted. */
const root = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "/sys/fs/cgroup";

describeKernel("examples/connect-policy.ts", () => {
  const cgroup = `${root}/tsbpf-test-policy-${process.pid}`;
  beforeEach(() => mkdirSync(cgroup));
  afterEach(() => rmdirSync(cgroup));

  /** Tries to connect by UDP, which sends nothing, from a process of the cgroup; gives its pid and what happened. */
  const connect = async (net: TestNet, family: "AF_INET" | "AF_INET6", host: string): Promise<string[]> => {
    const join = ["-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', cgroup, ...connector(family, host)];
    const { stdout }: ExecResult = await net.exec("inside", "sh", join);
    return /^(\d+) (.*)\n$/.exec(stdout)?.slice(1) ?? [stdout];
  };

  /** Perl is on every Debian. Prints its pid, and `connected` or the error. */
  const connector = (family: "AF_INET" | "AF_INET6", host: string): [string, ...string[]] => {
    const pack = family === "AF_INET" ? "pack_sockaddr_in" : "pack_sockaddr_in6";
    const code = `socket(my $s, ${family}, SOCK_DGRAM, 0) or die; my $to = ${pack}(4321, inet_pton(${family}, "${host}"));
print "$$ ", connect($s, $to) ? "connected" : $!, "\\n";`;
    return ["perl", "-MSocket=:DEFAULT,inet_pton,pack_sockaddr_in6", "-e", code];
  };

  test("only the prefixes are allowed, to the cgroup's processes", async () => {
    await using net = await createTestNet({ ipv6: true });
    const args = [cgroup, "10.77.0.0/31", "10.77.0.2"];
    const example = await startExample("connect-policy", args, "2 prefixes allowed\n", net);
    expect(await connect(net, "AF_INET", "10.77.0.1")).toEqual([expect.any(String), "connected"]);
    expect(await connect(net, "AF_INET", "10.77.0.2")).toEqual([expect.any(String), "connected"]);
    const [pid, refused] = await connect(net, "AF_INET", "10.77.0.3");
    expect(refused).toBe("Operation not permitted");
    await example.waitFor(`refused perl (${pid}): 10.77.0.3:4321\n`);
    expect(await connect(net, "AF_INET6", "fd77:0::2")).toContain("Operation not permitted");
    // Outside of the cgroup nothing is refused.
    const [perl, ...args4] = connector("AF_INET", "10.77.0.3");
    expect((await net.exec("inside", perl, args4)).stdout).toContain("connected");
    const stdout = await interrupt(example);
    expect(stdout.match(/^refused/gm)).toHaveLength(1);
    expect(await connect(net, "AF_INET", "10.77.0.3")).toContain("connected");
  });

  test("says what is wrong with a directory that is no cgroup", async () => {
    await expect(startExample("connect-policy", ["/tmp"], "allowed")).rejects.toThrow(
      /error: cannot attach .*\n(.*\n)*.*\/tmp is not a directory of a cgroup2 file system/,
    );
  });
});
