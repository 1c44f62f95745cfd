//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// fabric is a network of namespaces: one for each node, all on a bridge in one
// more. Nothing of it is in the machine's own namespace, so it meets no other
// network. A node's JSON-RPC stays on its namespace's loopback, where this
// program reaches it whatever is cut.
//
//	cairn-ID-0 eth0 10.77.0.1 ── p0 ┐
//	cairn-ID-1 eth0 10.77.0.2 ── p1 ┤ bridge in cairn-ID-hub, with the rules
type fabric struct {
	id string
	n  int
}

func (f *fabric) namespace(i int) string { return fmt.Sprintf("cairn-%s-%d", f.id, i) }
func (f *fabric) hub() string            { return "cairn-" + f.id + "-hub" }
func fabricAddress(i int) string         { return fmt.Sprintf("10.77.0.%d", i+1) }

// newFabric makes the namespaces, their links and an empty rule set. What an
// earlier run of the same id left is deleted first.
func newFabric(ctx context.Context, id string, n int) (*fabric, error) {
	f := &fabric{id: id, n: n}
	if os.Geteuid() != 0 {
		return nil, errors.New("not root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("no program %s: install iproute2 and nftables", tool)
		}
	}
	f.close()
	if err := f.build(ctx); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *fabric) build(ctx context.Context) error {
	if err := command(ctx, "", "ip", "netns", "add", f.hub()); err != nil {
		return err
	}
	lines := []string{"link set lo up", "link add name br0 type bridge forward_delay 0", "link set br0 up"}
	if err := f.batch(ctx, f.hub(), lines); err != nil {
		return err
	}
	for i := range f.n {
		ns, port := f.namespace(i), fmt.Sprintf("p%d", i)
		if err := command(ctx, "", "ip", "netns", "add", ns); err != nil {
			return err
		}
		err := f.batch(ctx, f.hub(), []string{
			fmt.Sprintf("link add name %s type veth peer name eth0 netns %s", port, ns),
			fmt.Sprintf("link set %s master br0 up", port),
		})
		if err != nil {
			return err
		}
		err = f.batch(ctx, ns, []string{
			"link set lo up",
			fmt.Sprintf("addr add %s/24 dev eth0", fabricAddress(i)),
			"link set eth0 up",
		})
		if err != nil {
			return err
		}
	}
	// Whether the kernel has what the cuts need is better known now.
	if err := f.cut(ctx, [][2]int{{0, 1}}); err != nil {
		return err
	}
	return f.cut(ctx, nil)
}

func (f *fabric) batch(ctx context.Context, ns string, lines []string) error {
	return command(ctx, strings.Join(lines, "\n")+"\n", "ip", "-n", ns, "-batch", "-")
}

// cut replaces what the bridge drops, in one transaction: all links change at
// the same instant.
func (f *fabric) cut(ctx context.Context, cuts [][2]int) error {
	return command(ctx, cutRules(cuts), "ip", "netns", "exec", f.hub(), "nft", "-f", "-")
}

// cutRules is the nftables text that drops all IPv4 packets of the given
// directed links and nothing else.
func cutRules(cuts [][2]int) string {
	const fresh = "table bridge chaos\ndelete table bridge chaos\n"
	if len(cuts) == 0 {
		return fresh
	}
	pairs := make([]string, len(cuts))
	for i, c := range cuts {
		pairs[i] = fabricAddress(c[0]) + " . " + fabricAddress(c[1])
	}
	return fresh + "table bridge chaos {\n chain forward {\n  type filter hook forward priority 0; policy accept;\n" +
		"  ip saddr . ip daddr { " + strings.Join(pairs, ", ") + " } drop\n }\n}\n"
}

// close deletes every namespace of this id; links and rules go with them.
func (f *fabric) close() {
	found, _ := filepath.Glob("/run/netns/cairn-" + f.id + "-*")
	for _, path := range found {
		if err := command(context.Background(), "", "ip", "netns", "del", filepath.Base(path)); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
		}
	}
}

// within runs do on a thread inside a namespace: sockets made and processes
// started there belong to it.
func within(ns string, do func() error) error {
	if ns == "" {
		return do()
	}
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	other, err := os.Open("/run/netns/" + ns)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer other.Close()
	if err := unix.Setns(int(other.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", ns, err)
	}
	err = do()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so that it ends with its goroutine.
		return errors.Join(err, fmt.Errorf("leave namespace %s: %w", ns, back))
	}
	runtime.UnlockOSThread()
	return err
}

func command(ctx context.Context, stdin, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
