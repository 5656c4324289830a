import { expect, test } from "vitest";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { expectNoPrograms, interrupt, startExample } from "./harness.ts";

describeKernel("examples/drop-ports.ts", () => {
  test("drops by source prefix and port, and counts for the longest prefix", async () => {
    await using net = await createTestNet();
    const rules = ["10.0.0.0/8:7001", "10.77.0.2:7001", "192.168.0.0/16:7002", "0.0.0.0/0:7003"];
    const example = await startExample("drop-ports", ["eth0", ...rules], "4 rules on eth0, in native", net);
    // The sender is 10.77.0.2.
    expect(await net.udpOneWay({ port: 7001, count: 5, timeoutMs: 3000 })).toMatchObject({ received: 0 });
    expect(await net.udpOneWay({ port: 7002, count: 5 })).toMatchObject({ received: 5 });
    expect(await net.sendUdp({ port: 7003, count: 7 })).toEqual({ sent: 7 });
    expect(await net.udpOneWay({ port: 7004, count: 5 })).toMatchObject({ received: 5 });
    expect(await net.ping()).toMatchObject({ received: 3 });
    await example.waitFor("0.0.0.0/0:7003 dropped 7\n");
    const stdout = await interrupt(example);
    expect(stdout).toContain("10.77.0.2:7001 dropped 5\n");
    expect(stdout).not.toContain("10.0.0.0/8:7001 dropped");
    expect(stdout).not.toContain("7002 dropped");
    await expectNoPrograms(net);
    expect(await net.udpOneWay({ port: 7001, count: 5 })).toMatchObject({ received: 5 });
  });

  test("TCP, and a packet whose IP header has options", async () => {
    await using net = await createTestNet();
    const example = await startExample("drop-ports", ["eth0", "10.77.0.0/24:7005"], "1 rules on eth0", net);
    // IP_OPTIONS (4) with a router alert: RFC 2113.
    const send = (kind: string, how: string): string[] => [
      "-MSocket",
      "-e",
      `socket(my $s, AF_INET, ${kind}, 0) or die; my $to = pack_sockaddr_in(7005, inet_aton("10.77.0.1"));
setsockopt($s, SOL_SOCKET, SO_SNDTIMEO, pack("l!l!", 0, 500_000)) or die;
setsockopt($s, IPPROTO_IP, 4, "\\x94\\x04\\0\\0") or die; ${how};`,
    ];
    await net.exec("outside", "perl", send("SOCK_DGRAM", 'send($s, "x", 0, $to)'));
    await example.waitFor("10.77.0.0/24:7005 dropped 1\n");
    await net.exec("outside", "perl", send("SOCK_STREAM", "connect($s, $to)"));
    await example.waitFor("10.77.0.0/24:7005 dropped 2\n");
    await interrupt(example);
  });
});
