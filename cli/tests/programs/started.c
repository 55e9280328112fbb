// started: tells by its exit status what it was started with: 1, 2 and 4 for each of descriptors 0 to 2 that is closed, 8 if
// SIGPIPE is ignored.
#include <fcntl.h>
#include <signal.h>

int main(void)
{
	struct sigaction action;
	int status = 0;
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			status |= 1 << fd;
	if (sigaction(SIGPIPE, 0, &action) == 0 && action.sa_handler == SIG_IGN)
		status |= 8;
	return status;
}
