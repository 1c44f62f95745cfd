package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"cairn/cmd/internal/args"
	"cairn/wallet"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// maxSecretLine is more than any password or key needs.
const maxSecretLine = 4096

var errNoPassword = errors.New("no terminal to ask for it")

// password is the first line of --password-file, or asked for, twice when it is
// to be set.
func (t *terminal) password(c *cli.Context, prompt string, set bool) (string, error) {
	return t.passwordFrom(c, "password-file", prompt, set)
}

// passwordFrom is password with another flag.
func (t *terminal) passwordFrom(c *cli.Context, flag, prompt string, set bool) (string, error) {
	if file := c.String(flag); file != "" {
		line, err := t.firstLine(file)
		if err != nil {
			return "", fmt.Errorf("password file: %w", err)
		}
		if line == "" && set {
			return "", fmt.Errorf("password file: %w", wallet.ErrPasswordEmpty)
		}
		return line, nil
	}
	if !t.canAsk() {
		return "", fmt.Errorf("password: %w: give --%s", errNoPassword, flag)
	}
	word, err := t.ask(c.Context, prompt)
	if err != nil || !set {
		return word, err
	}
	if word == "" {
		return "", wallet.ErrPasswordEmpty
	}
	again, err := t.ask(c.Context, "Again: ")
	if err == nil && again != word {
		err = fmt.Errorf("%w: the two passwords differ", wallet.ErrPassword)
	}
	return word, err
}

// firstLine reads up to the first line feed of a file, a pipe or, for -, stdin.
// The rest of a pipe is left alone: its writer may never close it.
func (t *terminal) firstLine(path string) (string, error) {
	f := t.stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return "", err
		}
		defer f.Close()
	}
	line, err := bufio.NewReader(io.LimitReader(f, maxSecretLine+1)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if len(line) > maxSecretLine {
		return "", fmt.Errorf("first line of %s is longer than %d bytes", path, maxSecretLine)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (t *terminal) canAsk() bool { return t.stdin != nil && term.IsTerminal(int(t.stdin.Fd())) }

// ask reads a line from the terminal without showing it. An interrupt gives the
// terminal back as it was.
func (t *terminal) ask(ctx context.Context, prompt string) (string, error) {
	fd := int(t.stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for a password: %w", err)
	}
	fmt.Fprint(t.stderr, prompt)
	type answer struct {
		line []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		done <- answer{line, err}
	}()
	select {
	case a := <-done:
		fmt.Fprintln(t.stderr)
		if errors.Is(a.err, io.EOF) {
			return "", context.Canceled
		}
		return string(a.line), a.err
	case <-ctx.Done():
		_ = term.Restore(fd, before) // the process ends; nothing better can be done
		fmt.Fprintln(t.stderr)
		return "", ctx.Err()
	}
}

// oneStdin refuses two secrets from one stdin: which comes first would be a
// guess.
func oneStdin(c *cli.Context) error {
	var from []string
	for _, flag := range []string{"password-file", "private-key-file", "validator-key", "validator-password-file"} {
		if c.String(flag) == "-" {
			from = append(from, "--"+flag)
		}
	}
	if len(from) > 1 {
		return args.Usagef("%s cannot both be stdin", strings.Join(from, " and "))
	}
	return nil
}
