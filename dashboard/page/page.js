// The terminal's other end is where this page came from, behind whatever proxy that was.
const end = new URL("ws", window.location.href);
end.protocol = end.protocol.replace("http", "ws");
document.getElementById("terminal").dataset.sessionWebsocketUrl = end.href;
