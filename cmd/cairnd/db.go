package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/node"
)

func dbCommand() *cli.Command {
	return &cli.Command{
		Name:  "db",
		Usage: "check, measure, copy and repair the database of a home",
		Subcommands: append([]*cli.Command{
			{
				Name:  "check",
				Usage: "verify everything in the database of a stopped node; each finding is a line, and makes the exit code 1",
				Flags: []cli.Flag{
					homeFlag(), jsonFlag(), dataFlag(),
					&cli.BoolFlag{Name: "execute", Usage: "also execute every block again, in a second database that is thrown away"},
				},
				Action: dbCheck,
			},
			{
				Name:   "stats",
				Usage:  "count the rows and bytes of each table in the database of a stopped node",
				Flags:  []cli.Flag{homeFlag(), jsonFlag(), dataFlag()},
				Action: dbStats,
			},
			{
				Name: "backup", ArgsUsage: "DIR",
				Usage:  "copy the database, also of a running node, to the new directory DIR",
				Flags:  []cli.Flag{homeFlag()},
				Action: dbBackup,
			},
			{
				Name:  "reset-votes",
				Usage: "let the validator of a network of one or two vote although its data was lost or restored",
				Flags: []cli.Flag{
					homeFlag(),
					&cli.BoolFlag{Name: "yes", Usage: "I have read what it risks"},
					&cli.BoolFlag{Name: "stuck", Usage: "also in a network of more: so many validators observe that nothing becomes final"},
				},
				Action: dbResetVotes,
			},
		}, replaceCommands()...),
	}
}

func dataFlag() cli.Flag {
	return &cli.StringFlag{Name: "data", Usage: "look at the database in `DIR`, such as a backup, not at the home's own"}
}

// openHome opens a stopped node's database, and says how when it runs.
func openHome(c *cli.Context) (*node.Home, error) {
	h, err := node.OpenHome(c.String("home"), c.String("data"))
	if errors.Is(err, node.ErrLocked) {
		return nil, fmt.Errorf("%w: stop it, or make a copy with 'cairnd db backup DIR' and look at that with --data DIR", err)
	}
	return h, err
}

// maxFindings bounds the findings that are printed; all are counted.
const maxFindings = 1000

// checkReport is what db check --json prints.
type checkReport struct {
	node.CheckResult
	Found []string `json:"found"` // at most maxFindings
	Notes []string `json:"notes"`
}

func dbCheck(c *cli.Context) (err error) {
	h, err := openHome(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	report := checkReport{Found: []string{}, Notes: []string{}}
	asJSON, w := c.Bool("json"), c.App.Writer
	progress := newProgress(c.App.ErrWriter)
	o := node.CheckOptions{
		Finding: func(text string) {
			progress.end()
			if len(report.Found) == maxFindings {
				return
			}
			report.Found = append(report.Found, text)
			if !asJSON {
				fmt.Fprintln(w, text)
			}
		},
		Note: func(text string) {
			progress.end()
			report.Notes = append(report.Notes, text)
			fmt.Fprintln(c.App.ErrWriter, "note: "+text)
		},
		Progress: progress.tell,
	}
	if report.CheckResult, err = node.Check(c.Context, h.Store, h.Spec, o); err == nil && c.Bool("execute") {
		var more uint64
		more, err = h.CheckExecution(c.Context, o)
		report.Findings += more
	}
	progress.end()
	if err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(w, report); err != nil {
			return err
		}
	}
	if n := report.Findings; n > 0 {
		return fmt.Errorf("%d findings: the database is damaged; repair it ('cairnd db repair') or restore a copy (docs/database.md)", n)
	}
	if !asJSON {
		fmt.Fprintf(w, "sound: height %d, epoch %d, %d transactions, %d certificates, %d accounts, %d slots\n",
			report.Height, report.Epoch, report.Transactions, report.Certificates, report.Accounts, report.Slots)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// tableReport is one table as db stats --json prints it.
type tableReport struct {
	Name  string `json:"name"`
	Rows  uint64 `json:"rows"`
	Bytes uint64 `json:"bytes"`
	Disk  uint64 `json:"diskBytes"`
	// PerTransfer is Bytes for each transaction that is held, before compression.
	PerTransfer float64 `json:"bytesPerTransaction"`
}

func dbStats(c *cli.Context) (err error) {
	h, err := openHome(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	tables, err := h.Store.Tables()
	if err != nil {
		return err
	}
	head, err := h.Store.Head()
	if err != nil {
		return err
	}
	m := h.Store.Metrics()
	out := make([]tableReport, len(tables))
	transactions := uint64(0)
	for _, t := range tables {
		if t.Name == "transaction index" {
			transactions = t.Rows
		}
	}
	for i, t := range tables {
		out[i] = tableReport{Name: t.Name, Rows: t.Rows, Bytes: t.Bytes, Disk: t.Disk, PerTransfer: per(t.Bytes, transactions)}
	}
	w := c.App.Writer
	if c.Bool("json") {
		return printJSON(w, map[string]any{
			"height": head.Height, "hash": head.Hash, "floorEpoch": head.Floor.Epoch, "floorView": head.Floor.View,
			"firstState": h.Store.Base(), "firstBody": h.Store.FirstBody(), "transactions": transactions,
			"tables": out, "diskBytes": m.DiskBytes, "logBytes": m.LogBytes, "diskBytesPerTransaction": per(m.DiskBytes, transactions),
		})
	}
	fmt.Fprintf(w, "height %d, votes that are needed no more: up to epoch %d, view %d\n", head.Height, head.Floor.Epoch, head.Floor.View)
	if b := h.Store.Bounds(); b.Base > 0 || b.FirstBody > 1 {
		fmt.Fprintf(w, "states from height %d on, blocks from height %d on\n", b.Base, b.FirstBody)
	}
	fmt.Fprintf(w, "\n%-26s %12s %14s %14s %16s\n", "table", "rows", "bytes", "on disk", "per transaction")
	for _, t := range out {
		if t.Rows > 0 {
			fmt.Fprintf(w, "%-26s %12d %14d %14d %16.1f\n", t.Name, t.Rows, t.Bytes, t.Disk, t.PerTransfer)
		}
	}
	fmt.Fprintf(w, "%-26s %12s %14s %14d %16.1f  (of it logs: %d)\n", "all files", "", "", m.DiskBytes, per(m.DiskBytes, transactions), m.LogBytes)
	return nil
}

// per is bytes for each transaction; 0 where there is none.
func per(bytes, transactions uint64) float64 {
	if transactions == 0 {
		return 0
	}
	return float64(bytes) / float64(transactions)
}

// dbBackup asks the running node, and copies by itself if there is none.
func dbBackup(c *cli.Context) (err error) {
	home := c.String("home")
	dir, err := filepath.Abs(c.Args().First())
	if err != nil {
		return err
	}
	_, err = node.Admin(c.Context, home, http.MethodPost, "/backup", url.Values{"dir": {dir}})
	if errors.Is(err, node.ErrNotRunning) {
		var h *node.Home
		if h, err = node.OpenHome(home, ""); errors.Is(err, node.ErrLocked) {
			return fmt.Errorf("%w, but it has no admin socket: stop it first", err)
		} else if err == nil {
			err = errors.Join(h.Backup(dir), h.Close())
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s is a copy of the database, marked as one: a validator that starts from it observes before it votes\n", dir)
	return nil
}

// resetRisk is what an operator must know before db reset-votes.
const resetRisk = `reset-votes lets this validator vote at once, although its database was lost, restored or replaced.
What it risks: a vote that this key cast before, and that is in no record here, may be contradicted. In a network
of one or two validators, or with --stuck of any size, that can make two different blocks final at one height. Before you say --yes:
- no other process uses this key, here or on another machine;
- this database is the newest there is: with two validators, start this node first, wait until it has the height
  of the other one, and stop it again;
- nobody relies on a block that is not in it.`

func dbResetVotes(c *cli.Context) error {
	if !c.Bool("yes") {
		fmt.Fprintln(c.App.ErrWriter, resetRisk)
		return args.Usagef("reset-votes does nothing without --yes")
	}
	r, err := node.ResetVotes(c.String("home"), c.Bool("stuck"))
	if errors.Is(err, node.ErrLocked) {
		return fmt.Errorf("%w: stop it first", err)
	}
	if errors.Is(err, node.ErrObserves) {
		return fmt.Errorf("%w; if so many of them observe that nothing becomes final, say --stuck", err)
	}
	if err != nil {
		return err
	}
	w := c.App.Writer
	if r.Why == "" && r.Damaged == 0 {
		fmt.Fprintln(w, "nothing was to be reset: this validator votes at its next start anyway")
		return nil
	}
	if r.Damaged > 0 {
		fmt.Fprintf(w, "%d damaged vote records are forgotten\n", r.Damaged)
	}
	fmt.Fprintf(w, "this validator of %d votes at its next start\n", r.Validators)
	return nil
}
