// Submit a job for each question, and print each answer once it is stored.
//
//	go get github.com/nats-io/nats.go
//	go run producer.go nats://127.0.0.1:4222 smollm2 default "Why is the sky blue?"
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	patience = 10 * time.Second
	pause    = 500 * time.Millisecond
	tries    = 600
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type body struct {
	Messages  []message `json:"messages"`
	MaxTokens int       `json:"max_tokens"`
}

type request struct {
	URL  string `json:"url"`
	Body body   `json:"body"`
}

// line is one line of a result; what is not needed here is left out.
type line struct {
	Response *struct {
		Body struct {
			Choices []struct {
				Message message `json:"message"`
			} `json:"choices"`
		} `json:"body"`
	} `json:"response"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// submit stores one job. The id makes a repetition harmless: the same id with the same body is the
// same job.
func submit(js nats.JetStreamContext, model, tenant, job, question string) error {
	asked := request{
		URL:  "/v1/chat/completions",
		Body: body{Messages: []message{{Role: "user", Content: question}}, MaxTokens: 32},
	}
	data, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	msg := nats.NewMsg(fmt.Sprintf("jobs.batch.%s.%s", model, tenant))
	msg.Header.Set("Fleet-Job-Id", job)
	msg.Data = data
	// Once there is a receipt the job is safe. A full queue is an error here.
	_, err = js.PublishMsg(msg)
	return err
}

// result waits for the line of a job. Results stay for a week, so it does not matter whether it is
// there already.
func result(nc *nats.Conn, tenant, job string) (*line, error) {
	stored := fmt.Sprintf("$JS.API.DIRECT.GET.RESULTS.results.%s._.%s", tenant, job)
	for n := 0; n < tries; n++ {
		reply, err := nc.Request(stored, nil, patience)
		if err != nil {
			return nil, err
		}
		// 404: nothing is stored yet. A record says that another consumer goes on with the job.
		if reply.Header.Get("Status") != "404" && reply.Header.Get("Fleet-Record") == "" {
			found := new(line)
			return found, json.Unmarshal(reply.Data, found)
		}
		time.Sleep(pause)
	}
	return nil, fmt.Errorf("no result of %s after five minutes", job)
}

func main() {
	if len(os.Args) < 5 {
		log.Fatal("usage: producer URL MODEL TENANT QUESTION...")
	}
	url, model, tenant, questions := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream(nats.MaxWait(patience))
	if err != nil {
		log.Fatal(err)
	}
	run := time.Now().UnixNano()
	for n, question := range questions {
		if err := submit(js, model, tenant, fmt.Sprintf("go-%d-%d", run, n), question); err != nil {
			log.Fatal(err)
		}
	}
	for n := range questions {
		found, err := result(nc, tenant, fmt.Sprintf("go-%d-%d", run, n))
		switch {
		case err != nil:
			log.Fatal(err)
		case found.Error != nil:
			log.Print(found.Error.Code, ": ", found.Error.Message)
		default:
			fmt.Println(found.Response.Body.Choices[0].Message.Content)
		}
	}
}
