// Empty: tests call chrome.tabs.setZoom in here, which is the zoom that a user has; emulation would only scale numbers.
