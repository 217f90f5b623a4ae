// Command conform runs libraries by others against the ledger's logs, receipts and witness.
//
//	conform read URL POLICY          read a whole log with torchwood, prove every entry
//	conform prove URL VKEY           check inclusion and consistency with golang.org/x/mod
//	conform follow URL VKEY OLD      follow a log from a checkpoint ("-": none) with Tessera's client
//	conform receipt POLICY LEAF      check the tlog-proof on standard input with torchwood
//	conform proof VKEY POLICY LEAF   check it with transparency-dev's formats and merkle
//	conform make KEY SIZE INDEX      make tlog-proofs of one entry with torchwood and with formats
//	conform keygen NAME              make an ML-DSA-44 key of a witness or log with formats
//	conform witness KEYS VKEY        be the witness of transparency-dev with the keys in a file, on a free port
//	conform agent SOCKET SEEDFILE    be an ssh-agent with one Ed25519 key
//	conform ask URL KEY WITNESS      ask a witness with the client of transparency-dev
//
// It prints one JSON object, or exits with 1 and says why.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	commands := map[string]struct {
		arguments int
		run       func([]string) (any, error)
	}{
		"read":    {2, readLog},
		"prove":   {2, proveLog},
		"follow":  {3, followLog},
		"receipt": {2, checkReceipt},
		"proof":   {3, checkProof},
		"make":    {3, makeProofs},
		"keygen":  {1, makeKey},
		"witness": {2, runWitness},
		"agent":   {2, runAgent},
		"ask":     {3, askWitness},
	}
	if len(os.Args) < 2 || len(os.Args)-2 != commands[os.Args[1]].arguments {
		fail(fmt.Errorf("usage: conform read|prove|follow|receipt|proof|make|keygen|witness|agent|ask ..."))
	}
	answer, err := commands[os.Args[1]].run(os.Args[2:])
	if err != nil {
		fail(err)
	}
	say(answer)
}

func say(answer any) {
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
