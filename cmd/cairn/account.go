package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/wallet"

	"github.com/urfave/cli/v2"
)

type accountJSON struct {
	Name    string         `json:"name"`
	Address crypto.Address `json:"address"`
	Path    string         `json:"path"`
}

func (t *terminal) accountCommand() *cli.Command {
	shared := func(more ...cli.Flag) []cli.Flag {
		return append([]cli.Flag{keystoreFlag(), passwordFlag(), jsonFlag()}, more...)
	}
	kdf := func() cli.Flag {
		return &cli.StringFlag{
			Name:    "kdf",
			Usage:   "`COST` of guessing the password: standard (256 MiB, about a second) or light (for tests and development only)",
			Value:   "standard",
			EnvVars: []string{"CAIRN_KDF"},
		}
	}
	return &cli.Command{
		Name:  "account",
		Usage: "keys in the key store",
		Subcommands: []*cli.Command{
			{
				Name: "new", Usage: "make a key", ArgsUsage: "NAME",
				Flags: shared(kdf()), Action: action(t.accountNew),
			},
			{
				Name: "import", Usage: "store an existing private key", ArgsUsage: "NAME",
				Flags: shared(kdf(), &cli.StringFlag{
					Name:  "private-key-file",
					Usage: "the key is the first line of `FILE`, 64 hex digits, which may be a pipe; - is stdin",
				}),
				Action: action(t.accountImport),
			},
			{
				Name: "list", Usage: "show the accounts", Aliases: []string{"ls"},
				Flags: shared(), Action: action(t.accountList),
			},
			{
				Name: "export", Usage: "write a private key, unencrypted", ArgsUsage: "ACCOUNT",
				Flags: shared(&cli.StringFlag{
					Name:     "out",
					Usage:    "new `FILE` (mode 0600) for the key; - is stdout",
					Required: true,
				}),
				Action: action(t.accountExport),
			},
		},
	}
}

func keyDerivation(c *cli.Context) (wallet.KDF, error) {
	switch v := c.String("kdf"); v {
	case "standard":
		return wallet.KDFStandard, nil
	case "light":
		return wallet.KDFLight, nil
	default:
		return wallet.KDF{}, args.Usagef("--kdf is standard or light, not %.20q", v)
	}
}

func (t *terminal) accountNew(c *cli.Context) error {
	kdf, err := keyDerivation(c)
	if err != nil {
		return err
	}
	store, name := wallet.OpenKeyStore(c.String("keystore")), c.Args().First()
	if err := store.CheckFree(name); err != nil {
		return err
	}
	password, err := t.password(c, "New password for "+name+": ", true)
	if err != nil {
		return err
	}
	a, err := store.New(name, password, kdf)
	if err != nil {
		return err
	}
	return t.showAccount(c, a)
}

func (t *terminal) accountImport(c *cli.Context) error {
	kdf, err := keyDerivation(c)
	if err != nil {
		return err
	}
	if err := oneStdin(c); err != nil {
		return err
	}
	store, name := wallet.OpenKeyStore(c.String("keystore")), c.Args().First()
	if err := store.CheckFree(name); err != nil {
		return err
	}
	key, err := t.privateKey(c)
	if err != nil {
		return err
	}
	password, err := t.password(c, "New password for "+name+": ", true)
	if err != nil {
		return err
	}
	a, err := store.Import(name, key, password, kdf)
	if err != nil {
		return err
	}
	return t.showAccount(c, a)
}

// errKeyFile says that a key file was given where a key belongs.
var errKeyFile = errors.New("this is an encrypted key file and needs no import: copy it into the key store as NAME.json")

// privateKey is the first line of --private-key-file, or asked for. A key is
// never taken from the command line, which other users of the machine see.
func (t *terminal) privateKey(c *cli.Context) (*crypto.PrivateKey, error) {
	var text string
	var err error
	switch file := c.String("private-key-file"); {
	case file != "":
		if text, err = t.firstLine(file); err != nil {
			return nil, fmt.Errorf("private key file: %w", err)
		}
	case t.canAsk():
		if text, err = t.ask(c.Context, "Private key (64 hex digits): "); err != nil {
			return nil, err
		}
	default:
		return nil, args.Usagef("missing flag --private-key-file")
	}
	key, err := crypto.ParsePrivateKey(text)
	if err != nil && strings.HasPrefix(strings.TrimSpace(text), "{") {
		return nil, codedError{fmt.Errorf("private key: %w", errKeyFile), exitKey}
	}
	if err != nil {
		// crypto.ErrHex of a file is about the key, not the command line.
		return nil, codedError{fmt.Errorf("private key: %w", err), exitKey}
	}
	return key, nil
}

func (t *terminal) showAccount(c *cli.Context, a wallet.Account) error {
	return t.show(c, accountJSON{a.Name, a.Address, a.Path},
		row{"name", a.Name}, row{"address", a.Address.Hex()}, row{"file", a.Path})
}

func (t *terminal) accountList(c *cli.Context) error {
	type badJSON struct {
		Path  string `json:"path"`
		Error string `json:"error"`
	}
	data := struct {
		Accounts []accountJSON `json:"accounts"`
		Damaged  []badJSON     `json:"damaged"`
	}{[]accountJSON{}, []badJSON{}}
	store := wallet.OpenKeyStore(c.String("keystore"))
	accounts, bad, err := store.List()
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(accounts))
	for _, a := range accounts {
		data.Accounts = append(data.Accounts, accountJSON{a.Name, a.Address, a.Path})
		rows = append(rows, []string{a.Name, a.Address.Hex()})
		t.warnExposed(a)
	}
	for _, b := range bad {
		data.Damaged = append(data.Damaged, badJSON{b.Path, b.Err.Error()})
		t.warn("%v", b)
	}
	if c.Bool("json") {
		return t.showJSON(data)
	}
	if len(rows) == 0 {
		fmt.Fprintf(t.stderr, "no accounts in %s; make one with: cairn account new NAME\n", store.Dir())
	}
	return t.table(rows)
}

func (t *terminal) warnExposed(a wallet.Account) {
	if a.Exposed {
		t.warn("others may read %s: chmod 600 it", a.Path)
	}
}

// unlock finds an account and decrypts its key.
func (t *terminal) unlock(c *cli.Context, store *wallet.KeyStore, a wallet.Account) (*crypto.PrivateKey, error) {
	t.warnExposed(a)
	password, err := t.password(c, fmt.Sprintf("Password for %s (%s): ", a.Name, a.Address.Hex()), false)
	if err != nil {
		return nil, err
	}
	return store.Unlock(a, password)
}

func (t *terminal) accountExport(c *cli.Context) error {
	store, out := wallet.OpenKeyStore(c.String("keystore")), c.String("out")
	a, err := store.Find(c.Args().First())
	if err != nil {
		return err
	}
	if out == "" {
		return args.Usagef("--out is empty")
	}
	if out != "-" {
		if _, err := os.Lstat(out); err == nil {
			return fmt.Errorf("%s exists; it is not replaced", out)
		}
	}
	key, err := t.unlock(c, store, a)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("0x%x", key.Bytes())
	if out == "-" {
		return t.line(c, struct {
			Name       string         `json:"name"`
			Address    crypto.Address `json:"address"`
			PrivateKey string         `json:"privateKey"`
		}{a.Name, a.Address, text}, text)
	}
	if err := writeSecret(out, text+"\n"); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	t.warn("%s holds the private key unencrypted", out)
	return t.showAccount(c, wallet.Account{Name: a.Name, Address: a.Address, Path: out})
}

// writeSecret makes a file that only its owner may read.
func writeSecret(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
