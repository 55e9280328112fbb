// Four processes count to fifty each in memory of QSharedMemory, under its lock, and say by a QSystemSemaphore that they are done.
#include <QCoreApplication>
#include <QSharedMemory>
#include <QSystemSemaphore>
#include <cstdio>
#include <sys/wait.h>
#include <unistd.h>

static int count()
{
	QSystemSemaphore done("done");
	QSharedMemory memory("count");
	if (!memory.attach())
		return 2;
	for (int i = 0; i < 50; i++) {
		if (!memory.lock())
			return 3;
		volatile int *number = static_cast<int *>(memory.data());
		int was = *number;
		usleep(10);
		*number = was + 1;
		if (!memory.unlock())
			return 4;
	}
	return done.release() ? 0 : 5;
}

int main(int argc, char **argv)
{
	QCoreApplication app(argc, argv);
	QSystemSemaphore done("done", 0, QSystemSemaphore::Create);
	QSharedMemory memory("count");
	if (!memory.create(64)) {
		printf("create: %s\n", qPrintable(memory.errorString()));
		return 1;
	}
	for (int i = 0; i < 4; i++)
		if (fork() == 0)
			_exit(count());
	for (int i = 0; i < 4; i++)
		if (!done.acquire())
			printf("acquire: %s\n", qPrintable(done.errorString()));
	for (int i = 0, status; i < 4; i++)
		if (wait(&status) < 0 || status)
			printf("a child's status is %x\n", status);
	printf("%d\n", *static_cast<int *>(memory.data()));
}
