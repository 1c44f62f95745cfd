package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/wallet"

	"github.com/urfave/cli/v2"
)

// changeJSON is what the commands print that send a transaction to the
// registry. What does not apply, or is not known yet, is null.
type changeJSON struct {
	Hash        crypto.Hash    `json:"hash"`
	ChainID     uint64         `json:"chainId"`
	From        crypto.Address `json:"from"`
	Action      string         `json:"action"` // register, withdraw, vote, revoke or report
	Subject     crypto.Address `json:"subject"`
	Change      *string        `json:"change"` // of a vote: add or remove
	Nonce       uint64         `json:"nonce"`
	Status      string         `json:"status"` // pending, final or failed
	Votes       *int           `json:"votes"`  // with this one
	Quorum      *int           `json:"quorum"`
	Enacted     *bool          `json:"enacted"` // the vote was the last one needed
	BlockNumber *uint64        `json:"blockNumber"`
	BlockHash   *crypto.Hash   `json:"blockHash"`
	GasUsed     *uint64        `json:"gasUsed"`
	FeeWei      *string        `json:"feeWei"`
	Verified    bool           `json:"verified"`
}

// change is one call of the registry.
type change struct {
	sending
	store   *wallet.KeyStore
	tr      wallet.Transfer
	action  string
	subject crypto.Address
	add     *bool // of a vote
}

// begin reads the command line and names the node; the caller closes the client.
func (t *terminal) begin(c *cli.Context, action string) (*change, error) {
	store := wallet.OpenKeyStore(c.String("keystore"))
	from, tr, err := transaction(c, store)
	if err != nil {
		return nil, err
	}
	tr.To = genesis.RegistryAddress
	subject := from.Address
	if c.NArg() > 1 {
		if subject, err = store.Address(c.Args().Get(1)); err != nil {
			return nil, fmt.Errorf("SUBJECT: %w", err)
		}
	}
	client, err := dial(c)
	if err != nil {
		return nil, err
	}
	s, err := t.start(c, client, from, &tr)
	if err != nil {
		client.Close()
		return nil, err
	}
	return &change{sending: *s, store: store, tr: tr, action: action, subject: subject}, nil
}

// send signs the call, submits it and waits.
func (ch *change) send(c *cli.Context, data []byte) error {
	ch.tr.Data = data
	if err := ch.prepare(c, ch.tr, ch.store); err != nil {
		return err
	}
	return ch.finish(c, ch.showChange)
}

func (ch *change) showChange(c *cli.Context, r *wallet.Receipt) error {
	data := changeJSON{
		Hash: ch.tx.Hash(), ChainID: ch.draft.ChainID, From: ch.draft.From, Action: ch.action, Subject: ch.subject,
		Nonce: ch.tx.Nonce(), Status: "pending",
	}
	rows := []row{{"hash", data.Hash.Hex()}, {"from", data.From.Hex()}, {ch.action, ch.subject.Hex()}}
	if ch.add != nil {
		what := changeName(*ch.add)
		data.Change = &what
		rows = append(rows, row{"change", what})
	}
	if r != nil {
		fee := r.Fee().Dec()
		data.Status, data.BlockNumber, data.BlockHash, data.GasUsed = receiptStatus(r), &r.Height, &r.BlockHash, &r.GasUsed
		data.FeeWei, data.Verified = &fee, ch.verifier != nil
	}
	if r != nil && r.Status == 1 && ch.add != nil {
		v, err := r.Vote(ch.subject)
		if err != nil {
			return err
		}
		data.Votes, data.Quorum, data.Enacted = &v.Votes, &v.Quorum, &v.Enacted
		text := fmt.Sprintf("%d of %d", v.Votes, v.Quorum)
		if v.Enacted {
			text += ": done"
		}
		rows = append(rows, row{"votes", text})
	}
	return ch.show(c, data, append(rows, ch.outcome(r)...)...)
}

func changeName(add bool) string {
	if add {
		return "add"
	}
	return "remove"
}

func (t *terminal) validatorRegister(c *cli.Context) error {
	key, err := t.validatorKey(c)
	if err != nil {
		return err
	}
	v := genesis.Validator{Address: key.Address(), PeerID: c.String("peer-id"), Name: c.String("name")}
	if err := v.Validate(); err != nil {
		return args.Usagef("candidate: %v", err)
	}
	ch, err := t.begin(c, "register")
	if err != nil {
		return err
	}
	defer ch.client.Close()
	ch.subject = v.Address
	// The proof binds the chain: ask for its id first, and hold the node to it.
	if ch.tr.ChainID == 0 {
		if ch.tr.ChainID, err = ch.client.ChainID(c.Context); err != nil {
			return err
		}
	}
	number, err := ch.client.Registrations(c.Context, v.Address)
	if err != nil {
		return err
	}
	data, err := wallet.RegisterCall(key, ch.tr.ChainID, v, number)
	if err != nil {
		return err
	}
	return ch.send(c, data)
}

// maxValidatorKeyFile is more than either form of it has.
const maxValidatorKeyFile = 64 << 10

// validatorKey reads a key file of cairnd: 64 hex digits or, encrypted, Web3
// Secret Storage.
func (t *terminal) validatorKey(c *cli.Context) (*crypto.PrivateKey, error) {
	if err := oneStdin(c); err != nil {
		return nil, err
	}
	path := c.String("validator-key")
	f := t.stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, fmt.Errorf("validator key: %w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			t.warn("others may read %s: chmod 600 it", path)
		}
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxValidatorKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("validator key: %w", err)
	}
	key, err := t.openValidatorKey(c, bytes.TrimSpace(raw))
	if err != nil {
		// crypto.ErrHex of a file is about the key, not the command line.
		return nil, codedError{fmt.Errorf("validator key %s: %w", path, err), exitKey}
	}
	return key, nil
}

func (t *terminal) openValidatorKey(c *cli.Context, raw []byte) (*crypto.PrivateKey, error) {
	if !bytes.HasPrefix(raw, []byte("{")) {
		return crypto.ParsePrivateKey(string(raw))
	}
	file, err := wallet.ParseKeyFile(raw)
	if err != nil {
		return nil, err
	}
	password, err := t.passwordFrom(c, "validator-password-file", "Password of the validator key: ", false)
	if err != nil {
		return nil, err
	}
	return file.Decrypt(password)
}

func (t *terminal) validatorWithdraw(c *cli.Context) error {
	ch, err := t.begin(c, "withdraw")
	if err != nil {
		return err
	}
	defer ch.client.Close()
	return ch.send(c, wallet.WithdrawCall())
}

func (t *terminal) validatorRevoke(c *cli.Context) error {
	ch, err := t.begin(c, "revoke")
	if err != nil {
		return err
	}
	defer ch.client.Close()
	return ch.send(c, wallet.RevokeCall(ch.subject))
}

func (t *terminal) validatorVote(c *cli.Context) error {
	add := c.Bool("add")
	if add == c.Bool("remove") {
		return args.Usagef("give one of --add and --remove")
	}
	ch, err := t.begin(c, "vote")
	if err != nil {
		return err
	}
	defer ch.client.Close()
	ch.add = &add
	dry, err := ch.client.ValidatorChange(c.Context, ch.subject, add)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return t.showDryRun(c, ch.subject, add, dry)
	}
	fmt.Fprintf(t.stderr, "%s %s: %s\n", changeName(add), ch.subject.Hex(), foresight(dry))
	if err := checkLive(dry); err != nil {
		if !c.Bool("force") {
			return err
		}
		t.warn("%v", err)
	}
	return ch.send(c, wallet.VoteCall(ch.subject, add))
}

// foresight says in a line what a change would do.
func foresight(d *wallet.ValidatorChange) string {
	seen := "the node cannot tell who of them is online"
	if d.Online != nil && d.Synced != nil {
		seen = fmt.Sprintf("%d of them online, %d in step, %d of these fit to sign", *d.Online, *d.Synced, countFit(d.Validators))
	}
	if len(d.Convicted) > 0 {
		seen += fmt.Sprintf("; convicted, and leaving with it: %d", len(d.Convicted))
	}
	return fmt.Sprintf("%d of %d votes so far; then %d validators, quorum %d; %s", len(d.Votes), d.Quorum, len(d.Validators), d.NewQuorum, seen)
}

// checkLive refuses a change after which the network would stop at once.
func checkLive(d *wallet.ValidatorChange) error {
	switch {
	case d.Live == nil || d.Synced == nil:
		return fmt.Errorf("%w: the node cannot tell whether enough of the new validators are online; --force votes all the same", errUnsafe)
	case !*d.Live:
		return fmt.Errorf("%w: %d of the %d new validators are online, in step and fit to sign, %d are needed: nothing would become final; "+
			"start them first, or vote all the same with --force", errUnsafe, countFit(d.Validators), len(d.Validators), d.NewQuorum)
	}
	return nil
}

type dryRunJSON struct {
	Subject    crypto.Address   `json:"subject"`
	Change     string           `json:"change"` // add or remove
	Height     uint64           `json:"height"`
	Epoch      uint64           `json:"epoch"`
	Quorum     int              `json:"quorum"` // votes that enact the change
	Votes      []crypto.Address `json:"votes"`  // so far
	NewQuorum  int              `json:"newQuorum"`
	NewSetHash crypto.Hash      `json:"newValidatorSetHash"`
	Validators []memberJSON     `json:"newValidators"`
	Online     *int             `json:"online"`
	Synced     *int             `json:"synced"`
	Live       *bool            `json:"live"`
	Convicted  []crypto.Address `json:"convicted"` // validators that leave with it
}

// showDryRun prints what a change would do. An unsafe one is an error after it,
// as without --dry-run.
func (t *terminal) showDryRun(c *cli.Context, subject crypto.Address, add bool, d *wallet.ValidatorChange) error {
	data := dryRunJSON{
		subject, changeName(add), d.Height, d.Epoch, d.Quorum, d.Votes, d.NewQuorum, d.NewSetHash, membersJSON(d.Validators),
		d.Online, d.Synced, d.Live, d.Convicted,
	}
	var err error
	if c.Bool("json") {
		err = t.showJSON(data)
	} else {
		_, err = fmt.Fprintf(t.stdout, "%s %s: %s\n", data.Change, subject.Hex(), foresight(d))
		rows := [][]string{{"NAME", "ADDRESS", "ROLE", "ONLINE", "HEIGHT", "VOTES"}}
		for _, m := range d.Validators {
			rows = append(rows, memberRow(m, "validator", "-"))
		}
		err = errors.Join(err, t.table(rows))
	}
	if c.Bool("force") {
		return err
	}
	return errors.Join(err, checkLive(d))
}
